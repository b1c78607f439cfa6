/** Every sentence of the page, in each language; a key that one lacks does not compile. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Role } from "../protocol/records.ts";

const roles = { root: "owner", "co-owner": "co-owner", member: "member", readonly: "reads only" };

export const en = {
  loading: "Loading…",
  insecure:
    "This page needs a safe connection: open it with https:// (or at localhost on this machine).",
  coreMissing: "The encryption core could not be loaded. Reload the page.",
  broken: (sentence: string) => `Something went wrong: ${sentence}`,
  dismiss: "Dismiss",

  createTitle: "Choose a passphrase",
  createWhy:
    "Your keys and messages are kept in this browser, locked with a passphrase of your own.",
  createWarning:
    "Nobody can recover it. If you forget the passphrase, what is kept here is lost: neither this relay nor anybody else can open it.",
  passphrase: "Passphrase",
  passphraseAgain: "The same passphrase again",
  passphraseShort: (least: number) => `Use at least ${least} characters: a few words are best.`,
  passphraseDiffers: "The two passphrases are not the same.",
  create: "Create",
  unlockTitle: "Unlock",
  unlockWhy: "Your keys and messages in this browser are locked.",
  unlock: "Unlock",
  working: "One moment…",
  wrongPassphrase: "This is not the passphrase. Try again.",
  vaultDamaged:
    "What is kept in this browser was changed from outside, and can not be trusted. You can only forget it and be invited again.",
  elsewhere: "It is open in another tab or window of this browser. Close or lock it there first.",
  invited: "You were invited to a room. First, open your keys in this browser.",

  rooms: "Rooms",
  noRooms: "No rooms yet. Somebody who is in a room can send you an invite link.",
  join: "Join a room",
  joinTitle: "Join a room",
  joinInvited: "You were invited. What shall the others call you?",
  inviteLink: "Invite link",
  inviteHint: "Paste the whole link, with all that stands behind the # in it.",
  yourName: "Your name",
  nameMissing: "Give a name that the others will see.",
  joinGo: "Join",
  badLink: "This is no whole invite link. Copy it again, from its beginning to its end.",
  relayAway: "The relay can not be reached just now. Try again in a moment.",
  joinRefused: (reason: string) => `You could not be let in: ${reason}`,
  waitingTitle: "Waiting to be let in",
  asking: "Asking the relay…",
  waiting:
    "Your request has arrived. You are let in as soon as somebody who may do so is online. You can close this page: it goes on when you come back.",
  joinFailed: "This did not work",
  giveUp: "Give up",
  back: "Back",
  pending: "waiting to be let in",
  unread: (count: string) => `${count} unread`,
  you: "You",

  online: "connected",
  connecting: "Connecting…",
  offline: "No connection to the relay. You can read and write: it is sent when it is back.",
  retryNow: "Try now",
  chooseRoom: "Choose a room to read and write.",
  frozen: (reason: string) =>
    `This room was stopped, because its record does not add up: ${reason}`,
  removed: "You are no longer in this room. You can still read what you had.",
  readOnly: "You may read here, not write.",

  messages: "Messages",
  earlier: "Show earlier messages",
  beginning: "This is as far back as you can read.",
  today: "Today",
  yesterday: "Yesterday",
  edited: "edited",
  redacted: "This message was deleted.",
  redactedWhy: (reason: string) => `This message was deleted: ${reason}`,
  unreadable: (reason: string) => `This message can not be read: ${reason}`,
  unknownKind: (kind: string) => `A newer kind of message (${kind}), which this page can not show.`,
  file: (name: string, size: string) => `File: ${name}, ${size}. This page can not open files yet.`,
  replyTo: (name: string) => `Reply to ${name}`,
  replyGone: "a message that is not here",
  newFrom: (name: string, text: string) => `${name}: ${text}`,
  nameless: (mid: string) => `Somebody (${mid})`,
  via: (network: string) => `via ${network}`,
  showAll: "Show all of it",
  leadsTo: (address: string) => `leads to ${address}`,
  changes: {
    invite_open: () => "",
    invite_close: () => "",
    genesis: () => "",
    rekey: () => "",
    admit: (who: string) => `${who} let somebody in`,
    rekey_boxed: (who: string) => `${who} removed somebody, and renewed the room's key`,
    leave: (who: string) => `${who} left`,
    grant: (who: string) => `${who} changed somebody's role`,
    handover: (who: string) => `${who} handed the room over`,
    close: (who: string) => `${who} closed the room`,
  } satisfies Record<string, (who: string) => string>,
  somethingChanged: (who: string) => `${who} changed the room`,

  actions: "What to do with this message",
  reply: "Reply",
  edit: "Edit",
  remove: "Delete",
  react: (emoji: string) => `React with ${emoji}`,
  reactions: (emoji: string, count: number, names: string) => `${emoji} ${count}: ${names}`,
  sending: "not sent yet",
  notSent: (reason: string) => `Not sent: ${reason}`,
  retry: "Try again",
  discard: "Discard",

  write: "Write a message",
  send: "Send",
  cancel: "Cancel",
  save: "Save",
  editing: "Editing your message",
  tooLong: (size: string, most: string) =>
    `This is too long for one message: ${size} of ${most}. Split it.`,

  members: "Members",
  membersCount: (count: number) => (count === 1 ? "1 member" : `${count} members`),
  close: "Close",
  roles: roles satisfies Record<Role, string>,
  bot: "bot",
  bridge: "bridge",
  shortCode: "Short code",
  safetyNumber: "Safety number",
  compare: (name: string) =>
    `Compare this with ${name} by voice or in person. If both see the same, nobody is between you.`,
  roomNumber: "Safety number of the room",
  roomNumberWhy: "The same for all who see the same members and keys.",

  lockNow: "Lock now",
  forget: "Forget everything",
  forgetTitle: "Forget everything in this browser?",
  forgetWhy:
    "Your keys, rooms and messages are removed from this browser for good. Nobody can bring them back, and you must be invited again. The others keep what you said.",
  forgetWord: "forget",
  forgetType: (word: string) => `Type ${word} to go on`,
  forgetNow: "Forget now",
  about: "About this relay",
};

export type Strings = typeof en;

export const es: Strings = {
  loading: "Cargando…",
  insecure:
    "Esta página necesita una conexión segura: ábrela con https:// (o en localhost en este equipo).",
  coreMissing: "No se pudo cargar el núcleo de cifrado. Recarga la página.",
  broken: (sentence) => `Algo ha fallado: ${sentence}`,
  dismiss: "Cerrar aviso",

  createTitle: "Elige una frase de acceso",
  createWhy:
    "Tus claves y mensajes se guardan en este navegador, cerrados con una frase de acceso tuya.",
  createWarning:
    "Nadie puede recuperarla. Si olvidas la frase, lo que se guarda aquí se pierde: ni este servidor ni nadie más puede abrirlo.",
  passphrase: "Frase de acceso",
  passphraseAgain: "La misma frase otra vez",
  passphraseShort: (least) => `Usa al menos ${least} caracteres: lo mejor son unas pocas palabras.`,
  passphraseDiffers: "Las dos frases no son iguales.",
  create: "Crear",
  unlockTitle: "Abrir",
  unlockWhy: "Tus claves y mensajes en este navegador están cerrados.",
  unlock: "Abrir",
  working: "Un momento…",
  wrongPassphrase: "Esta no es la frase. Inténtalo de nuevo.",
  vaultDamaged:
    "Lo que se guarda en este navegador se cambió desde fuera y no es de fiar. Solo puedes olvidarlo y pedir otra invitación.",
  elsewhere: "Está abierto en otra pestaña o ventana de este navegador. Ciérralo allí primero.",
  invited: "Te han invitado a una sala. Primero, abre tus claves en este navegador.",

  rooms: "Salas",
  noRooms: "Aún no hay salas. Quien esté en una sala puede enviarte un enlace de invitación.",
  join: "Entrar en una sala",
  joinTitle: "Entrar en una sala",
  joinInvited: "Te han invitado. ¿Cómo te llamarán los demás?",
  inviteLink: "Enlace de invitación",
  inviteHint: "Pega el enlace entero, con todo lo que hay detrás de #.",
  yourName: "Tu nombre",
  nameMissing: "Pon un nombre que los demás verán.",
  joinGo: "Entrar",
  badLink: "Este enlace de invitación no está entero. Cópialo otra vez, de principio a fin.",
  relayAway: "Ahora no se puede llegar al servidor. Inténtalo dentro de un momento.",
  joinRefused: (reason) => `No has podido entrar: ${reason}`,
  waitingTitle: "A la espera de que te dejen entrar",
  asking: "Preguntando al servidor…",
  waiting:
    "Tu petición ha llegado. Entrarás en cuanto se conecte alguien que pueda admitirte. Puedes cerrar esta página: seguirá cuando vuelvas.",
  joinFailed: "No ha funcionado",
  giveUp: "Dejarlo",
  back: "Volver",
  pending: "a la espera de entrar",
  unread: (count) => `${count} sin leer`,
  you: "Tú",

  online: "conectado",
  connecting: "Conectando…",
  offline: "Sin conexión con el servidor. Puedes leer y escribir: se enviará cuando vuelva.",
  retryNow: "Probar ya",
  chooseRoom: "Elige una sala para leer y escribir.",
  frozen: (reason) => `Esta sala se ha detenido porque su registro no cuadra: ${reason}`,
  removed: "Ya no estás en esta sala. Aún puedes leer lo que tenías.",
  readOnly: "Aquí puedes leer, no escribir.",

  messages: "Mensajes",
  earlier: "Ver mensajes anteriores",
  beginning: "Hasta aquí puedes leer hacia atrás.",
  today: "Hoy",
  yesterday: "Ayer",
  edited: "editado",
  redacted: "Este mensaje se borró.",
  redactedWhy: (reason) => `Este mensaje se borró: ${reason}`,
  unreadable: (reason) => `Este mensaje no se puede leer: ${reason}`,
  unknownKind: (kind) =>
    `Un tipo de mensaje más nuevo (${kind}), que esta página no puede mostrar.`,
  file: (name, size) => `Archivo: ${name}, ${size}. Esta página todavía no puede abrir archivos.`,
  replyTo: (name) => `Respuesta a ${name}`,
  replyGone: "un mensaje que no está aquí",
  newFrom: (name, text) => `${name}: ${text}`,
  nameless: (mid) => `Alguien (${mid})`,
  via: (network) => `desde ${network}`,
  showAll: "Verlo entero",
  leadsTo: (address) => `lleva a ${address}`,
  changes: {
    invite_open: () => "",
    invite_close: () => "",
    genesis: () => "",
    rekey: () => "",
    admit: (who) => `${who} ha dejado entrar a alguien`,
    rekey_boxed: (who) => `${who} ha expulsado a alguien y renovado la clave de la sala`,
    leave: (who) => `${who} ha salido`,
    grant: (who) => `${who} ha cambiado el papel de alguien`,
    handover: (who) => `${who} ha entregado la sala`,
    close: (who) => `${who} ha cerrado la sala`,
  },
  somethingChanged: (who) => `${who} ha cambiado la sala`,

  actions: "Qué hacer con este mensaje",
  reply: "Responder",
  edit: "Editar",
  remove: "Borrar",
  react: (emoji) => `Reaccionar con ${emoji}`,
  reactions: (emoji, count, names) => `${emoji} ${count}: ${names}`,
  sending: "sin enviar todavía",
  notSent: (reason) => `No enviado: ${reason}`,
  retry: "Reintentar",
  discard: "Descartar",

  write: "Escribe un mensaje",
  send: "Enviar",
  cancel: "Cancelar",
  save: "Guardar",
  editing: "Editando tu mensaje",
  tooLong: (size, most) => `Es demasiado largo para un mensaje: ${size} de ${most}. Divídelo.`,

  members: "Miembros",
  membersCount: (count) => (count === 1 ? "1 miembro" : `${count} miembros`),
  close: "Cerrar",
  roles: { root: "dueño", "co-owner": "codueño", member: "miembro", readonly: "solo lee" },
  bot: "bot",
  bridge: "puente",
  shortCode: "Código corto",
  safetyNumber: "Número de seguridad",
  compare: (name) =>
    `Compáralo con ${name} de viva voz o en persona. Si los dos veis lo mismo, no hay nadie en medio.`,
  roomNumber: "Número de seguridad de la sala",
  roomNumberWhy: "Es igual para todos los que ven los mismos miembros y claves.",

  lockNow: "Cerrar ahora",
  forget: "Olvidarlo todo",
  forgetTitle: "¿Olvidar todo en este navegador?",
  forgetWhy:
    "Tus claves, salas y mensajes se quitan de este navegador para siempre. Nadie puede recuperarlos, y tendrán que invitarte otra vez. Los demás conservan lo que dijiste.",
  forgetWord: "olvidar",
  forgetType: (word) => `Escribe ${word} para seguir`,
  forgetNow: "Olvidar ahora",
  about: "Sobre este servidor",
};

const tables = { en, es } satisfies Record<string, Strings>;
type Language = keyof typeof tables;

const languageOf = (tag: string) => tag.toLowerCase().split("-")[0] as string;

/**
 * The first of these tags (as `navigator.languages` has them) whose language the page speaks;
 * "en" else. The region stays: it says how dates are written.
 */
export const tagOf = (wanted: readonly string[]): string =>
  wanted.find((tag) => Object.hasOwn(tables, languageOf(tag))) ?? "en";

export const stringsOf = (tag: string): Strings => tables[languageOf(tag) as Language];

export const StringsContext = createContext<Strings>(en);
export const useStrings = (): Strings => useContext(StringsContext);
