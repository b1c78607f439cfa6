/** Todas las frases de la página en español. */

import { both, counted } from "./counted.ts";
import type { Strings, Who } from "./en.ts";
import { told } from "./told-es.ts";

const has = ({ isReader }: Who) => (isReader ? "has" : "ha");

/** "Ana ha expulsado a Bo", "Ana te ha expulsado". */
const did = (who: Who, whom: Who, what: string, to: string) =>
  whom.isReader ? `${who.name} te ${has(who)} ${what}` : `${who.name} ${has(who)} ${what} ${to}`;

export const es: Strings = {
  told,
  loading: "Cargando…",
  insecure:
    "Esta página necesita una conexión segura: ábrela con https:// (o en localhost en este equipo).",
  coreMissing: "No se pudo cargar el núcleo de cifrado. Recarga la página.",
  noStorage:
    "Tu navegador no deja que esta página guarde nada: puede ser una ventana privada, o un ajuste. Tus claves tienen que guardarse en el navegador.",
  broken: (sentence) => `Algo ha fallado: ${sentence}`,
  dismiss: "Cerrar aviso",
  newVersion: "Hay una versión nueva de esta página. Usarla pide de nuevo tu frase de acceso.",
  useNewVersion: "Usarla ahora",

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
  invited: "Te han invitado a una sala. Primero, abre tus claves en este navegador.",

  rooms: "Salas",
  noRooms: "Aún no hay salas. Crea una, o entra en una con un enlace de invitación.",
  join: "Entrar en una sala",
  joinTitle: "Entrar en una sala",
  joinInvited: "Te han invitado. ¿Cómo te llamarán los demás?",
  inviteLink: "Enlace de invitación",
  inviteHint: "Pega el enlace entero, con todo lo que hay detrás de #.",
  yourName: "Tu nombre",
  nameMissing: "Pon un nombre que los demás verán.",
  joinGo: "Entrar",
  badLink: "Este enlace de invitación no está entero. Cópialo otra vez, de principio a fin.",
  joinThrough: "Entrar a través de otro servidor",
  joinThroughHint:
    "Como wss://servidor.example: el tuyo, que transmite al de la sala y guarda una copia sellada. Vacío: el de la sala.",
  joinRefused: (reason) => `No has podido entrar: ${reason}`,
  waitingTitle: "A la espera de que te dejen entrar",
  asking: "Preguntando al servidor…",
  waiting:
    "Tu petición ha llegado. Entrarás en cuanto se conecte alguien que pueda admitirte. Puedes cerrar esta página: seguirá cuando vuelvas.",
  joinFailed: "No ha funcionado",
  giveUp: "Dejarlo",
  back: "Volver",
  pending: "a la espera de entrar",
  unnamed: "Sala en la que pediste entrar",
  unread: (count) => `${count} sin leer`,
  you: "Tú",
  toYou: "ti",

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
  newest: (unread) =>
    unread
      ? `Volver a los mensajes más recientes (${unread} sin leer)`
      : "Volver a los mensajes más recientes",
  beginning: "Hasta aquí puedes leer hacia atrás.",
  nothingYet: "Aquí aún no se ha dicho nada.",
  today: "Hoy",
  yesterday: "Ayer",
  edited: "editado",
  redacted: "Este mensaje se borró.",
  redactedWhy: (reason) => `Este mensaje se borró: ${reason}`,
  unreadable: (reason) => `Este mensaje no se puede leer: ${reason}`,
  unknownKind: (kind) =>
    `Un tipo de mensaje más nuevo (${kind}), que esta página no puede mostrar.`,
  file: (name, size) => `${name}, ${size}`,
  replyTo: (name) => `Respuesta a ${name}`,
  replyGone: "un mensaje que no está aquí",
  newFrom: (name, text) => `${name}: ${text}`,
  nameless: (mid) => `Alguien (${mid})`,
  via: (network) => `desde ${network}, sin verificar`,
  showAll: "Verlo entero",
  leadsTo: (address) => `lleva a ${address}`,
  changes: {
    invite_open: () => "",
    invite_close: () => "",
    genesis: () => "",
    rekey: () => "",
    admit: (who, whom) => did(who, whom, "dejado entrar", `a ${whom.name}`),
    rekey_boxed: (who, whom) =>
      `${did(who, whom, "expulsado", `a ${whom.name}`)}; la sala tiene otra clave`,
    leave: (who) => `${who.name} ${has(who)} salido`,
    grant: (who, whom) =>
      `${who.name} ${has(who)} cambiado lo que ${whom.isReader ? "puedes hacer" : `puede hacer ${whom.name}`}`,
    handover: (who, whom) => did(who, whom, "entregado la sala", `a ${whom.name}`),
    home: (who) => `${who.name} ${has(who)} pasado a otro servidor`,
    hub_move: (who) => `${who.name} ${has(who)} llevado la sala a otro servidor`,
    close: (who) => `${who.name} ${has(who)} cerrado la sala`,
  },
  somethingChanged: (who) => `${who.name} ${has(who)} cambiado la sala`,

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
  forgetBlocked:
    "Tus claves, salas y mensajes ya no están. Otra pestaña de esta página duerme y retiene aún dónde estaban: ciérrala para seguir.",
  about: "Sobre este servidor",

  making: {
    open: "Sala nueva",
    title: "Crear una sala",
    why: "Es tuya: tú invitas y tú expulsas. El servidor guarda mensajes sellados y no tiene ninguna clave.",
    name: "Nombre de la sala",
    nameMissing: "Ponle un nombre a la sala.",
    elsewhere: "En otro servidor",
    relay: "Dirección del servidor",
    relayHint:
      "Como wss://servidor.example. Tu navegador se fía de la primera clave que conteste allí.",
    badRelay: "La dirección de un servidor empieza por wss:// (o ws:// en este equipo).",
    token: "Código, si el servidor lo pide",
    go: "Crear la sala",
    refused: (reason) => `El servidor no aceptó la sala: ${reason}`,
  },
  invites: {
    open: "Invitar",
    title: "Invitar a alguien",
    why: "Un enlace deja entrar a una persona, una vez. Quien lo tenga puede entrar: envíalo por una vía de confianza.",
    role: "Podrá",
    roles: {
      member: "leer y escribir",
      readonly: "solo leer",
      bot: "leer y escribir, como bot",
      bridge: "leer y escribir, como puente a otra red",
      "co-owner": "ser dueño conmigo",
    },
    good: "Vale",
    hours: (count) => (count === 1 ? "1 hora" : `${count} horas`),
    days: (count) => (count === 1 ? "1 día" : `${count} días`),
    go: "Crear enlace",
    link: "Enlace de invitación",
    copy: "Copiar",
    copied: "Copiado.",
    share: "Compartir",
    qr: "Código QR del enlace: escanéalo con la cámara del otro aparato",
    stay: "Deja esta página abierta hasta que entre: tu navegador le abre la puerta.",
    waiting: (until) => `Sin usar, vale hasta ${until}`,
    close: "Retirar",
    shareText: (room) => `Entra conmigo en ${room}`,
  },
  membership: {
    actions: "Qué hacer con este miembro",
    verify: "Lo he comparado: es igual",
    verified: "comparado",
    changed: "Las claves no son las que comparaste. Compáralas otra vez.",
    rotate: "Renovar la clave ahora",
    leave: "Salir de la sala",
    leaveSure: "¿Salir para siempre? Para volver necesitarás otra invitación.",
    rootStays: "La sala es tuya: entrégala antes de salir.",
    evict: "Expulsar",
    evictSure: (name) => `¿Expulsar a ${name}? La sala tendrá otra clave y ya no podrá leer más.`,
    makeOwner: "Hacer codueño",
    makeMember: "Hacer miembro",
    makeReader: "Dejar solo leer",
    handOver: "Entregar la sala",
    handOverSure: (name) => `¿Hacer a ${name} dueño de la sala, en cuanto acepte?`,
    offered: (name) => `${name} te ofrece esta sala.`,
    accept: "Aceptarla",
    sure: "Sí",
    failed: (reason) => `No se admitió: ${reason}`,
    key: (epoch) => `Clave de la sala número ${epoch}`,
    sponsor: (name) => `traído por ${name}`,
  },
  moving: {
    title: "Mi servidor para esta sala",
    here: (host) => `Llegas a esta sala a través de ${host}.`,
    ordered: (host) => `Él transmite a ${host}, que ordena la sala.`,
    why: "Puedes pasarte a otro, también si el tuyo ya no está: sigues siendo el mismo miembro, y lo que espera aquí se envía desde allí.",
    go: "Usar este servidor",
    done: (host) => `Ahora estás en ${host}.`,
    waits: (host) =>
      `La sala ya sabe que ahora estás en ${host}, que aún no te deja entrar: mira lo que dice arriba.`,
    localOnly: "Esta sala se queda en su propio servidor: así lo quiso quien la creó.",
    under: "En camino: puede tardar un minuto.",
    room: "Trasladar la sala a otro servidor",
    at: (host) => `${host} ordena esta sala, y las invitaciones llevan allí.`,
    roomWhy:
      "Los demás van detrás sin hacer nada, y se quedan en el servidor que usan. El servidor de ahora tiene que estar, y aceptarlo. Si nadie usa aún el nuevo servidor para esta sala, tú pasas antes a él, y ahí te quedas aunque el traslado no salga. Las invitaciones abiertas caducan: crea otras.",
    newRelay: "Dirección del nuevo servidor",
    roomGo: "Trasladar la sala",
    roomSure: (host) => `¿Trasladar la sala a ${host}, para todos?`,
    moved: (host) => `La sala está ahora en ${host}.`,
    movedWaits: (host) =>
      `La sala está ahora en ${host}, que aún no te deja entrar: mira lo que dice arriba.`,
    gone: "El servidor de la sala no volverá",
    goneWhy:
      "Solo entonces: la sala sigue a partir de la copia de otro servidor, que use algún miembro. Lo que falte en esa copia queda en nada, para todos. Primero se mira qué es.",
    copyRelay: "Dirección de un servidor con copia",
    certain: "Tiene que ser un servidor concreto",
    id: "Identificador de ese servidor",
    idHint:
      "64 cifras y letras de la a a la f, como te lo diga quien lo lleva. Si responde otro servidor, no se hace nada.",
    badId: "El identificador de un servidor tiene 64 caracteres: cifras, y letras de la a a la f.",
    look: "Mirar su copia",
    lacks: (host, messages, own) =>
      `${messages === 0 ? `La copia de ${host} tiene todo lo que has visto.` : `A la copia de ${host} le falta esto que tienes: ${counted(messages, "mensaje", "mensajes")}, de ellos tuyos ${own}, que se envían otra vez.`} Lo demás que el servidor de antes haya ordenado quedaría en nada para todos, lo hayas visto o no. ¿Que la sala siga en ${host}?`,
    forced: (host) =>
      `La sala está ahora en ${host}. Di a quien usaba el servidor de antes que elija este en Miembros.`,
    notReady: (host) =>
      `La sala se queda donde está: ${host} aún no la tiene entera, o los dos servidores no se hablan. Puede que tu servidor para ella ya sea ${host}: míralo arriba. Prueba de nuevo dentro de un rato.`,
  },
  voided: {
    title: "Lo que quedó en nada",
    what: (messages, changes) =>
      `El propietario llevó esta sala a otro servidor, porque el suyo no volverá. A ese servidor le faltaba esto que tú tenías: ${both(messages > 0 && counted(messages, "mensaje", "mensajes"), changes > 0 && `${counted(changes, "cambio", "cambios")} de la sala`, "y") || "algo"}. Ya no está en la sala de nadie.`,
    again: (own) =>
      own === 1
        ? "Una cosa tuya entre ello se envía otra vez."
        : `${own} cosas tuyas entre ello se envían otra vez.`,
    show: "Ver lo que otros no han enviado otra vez",
    none: "Todo se ha enviado otra vez.",
    forget: "Borrarlo de este navegador",
    sure: "¿Borrar lo que quedó en nada? Nadie podrá recuperarlo.",
    unreadable: "un mensaje que no se puede leer",
  },
  scanning: {
    open: "Leer un código QR",
    theirs: "Leer el suyo",
    seen: "Lo que ve la cámara",
    hold: "Pon el código delante de la cámara.",
    denied: "Tu navegador no deja que esta página use la cámara.",
    none: "No hay ninguna cámara que se pueda usar.",
    differs: "Ese código dice otro número: no te fíes de estas claves hasta saber por qué.",
  },
  phrases: {
    why: (name) =>
      `O acuerda con ${name} una frase secreta y escribidla los dos: nadie averigua más que si es la misma. Tres veces al día.`,
    asked: (name) =>
      `${name} ha escrito una frase para compararla contigo. Escribe la que acordasteis; espera diez minutos.`,
    phrase: "Frase que escriben los dos",
    go: "Comparar la frase",
    waiting: (name) => `Esperando a que ${name} también la escriba…`,
    stop: "Dejar de esperar",
    tooShort: "Usa al menos seis caracteres.",
    banner: (name) => `${name} quiere comparar una frase contigo: mira en Miembros.`,
    refused: {
      running: "Ya hay una comparación en curso con este miembro.",
      limit:
        "Tres comparaciones al día, para que nadie adivine la frase. Compara el número, o espera.",
      forbidden: "No puedes comparar con este miembro.",
    },
    outcomes: {
      same: "La misma frase: estas son las claves auténticas.",
      different: "No es la misma frase. Pregúntale, por otro medio, si se equivocó al escribirla.",
      expired: "No terminó a tiempo. Acordad un momento e inténtalo de nuevo.",
      gone: "Ese miembro ya no está en la sala.",
      given_up: "Se abandonó. Pregúntale e inténtalo de nuevo.",
      restarted: "La página se recargó entretanto. Inténtalo de nuevo.",
      moved: "La sala se trasladó sin lo último que se dijo. Inténtalo de nuevo.",
      broken: "El otro lado no siguió los pasos: no se averiguó nada. Pregúntale qué programa usa.",
    },
  },
  devices: {
    title: "¿Otro dispositivo mío?",
    why: (name) =>
      `Si ${name} eres tú en otro dispositivo, dilo aquí y allí: todos ven que es una sola persona. No da ningún derecho.`,
    said: (name) => `Has dicho que ${name} eres tú. Se muestra cuando ${name} también lo diga.`,
    say: "Soy yo",
    unsay: "No soy yo",
    same: (name) => `la misma persona que ${name}`,
  },
  files: {
    attach: "Adjuntar un archivo",
    drop: "Suéltalo aquí para enviarlo, sellado",
    sending: (name, percent) => `Enviando ${name}: ${percent}`,
    failed: (name, reason) => `${name} no se envió: ${reason}`,
    lost: (name) => `${name} no se envió: la página se cerró antes de leerlo. Elígelo de nuevo.`,
    stop: "Parar",
    get: "Descargar",
    getting: (percent) => `Descargando: ${percent}`,
    show: "Ver la imagen",
    enlarge: (name) => `Imagen ${name}: verla en grande`,
    picture: (name) => `Imagen ${name}`,
    broken: (reason) => `Este archivo no se puede mostrar: ${reason}`,
    noPicture: "No es una imagen que se pueda mostrar.",
  },
  typing: (names, count) =>
    count === 1 ? `${names} está escribiendo…` : `${names} están escribiendo…`,
  marks: {
    sent: "enviado: lo tiene el servidor",
    delivered: (names, more, awaited) =>
      `entregado a ${names}${more > 0 ? ` y ${more} más` : ""}${
        awaited > 0 ? `, no se sabe de ${awaited}` : ""
      }`,
  },
  mentionList: "Miembros que mencionar",
  newMessages: "Mensajes nuevos",
  search: {
    open: "Buscar",
    title: "Buscar en esta sala",
    words: "Palabras que buscar",
    found: (count) => (count === 1 ? "1 mensaje encontrado" : `${count} mensajes encontrados`),
    results: "Mensajes encontrados",
    more: "Solo se muestran los más recientes.",
    nothing: "No hay nada entre los mensajes guardados en este navegador.",
  },
  settings: {
    open: "Ajustes",
    title: "Ajustes",
    notify: "Avísame de mensajes nuevos cuando no esté mirando",
    notifyHint:
      "Lo muestra tu navegador, y solo dice en qué sala. No se pregunta a ningún servidor.",
    notifyDenied: "Tu navegador no deja que esta página muestre avisos.",
    newIn: (room) => `Mensaje nuevo en ${room}`,
    mentioned: (room) => `Te han mencionado en ${room}`,
    exportRoom: "Guardar los mensajes en un archivo",
    exportHint: "Sin cifrar: quien tenga el archivo puede leerlo.",
    check: "Comprobar lo que te ha servido este servidor",
  },
  endings: {
    taken: {
      title: "Abierto en otra pestaña",
      why: "Tus claves se usan en una pestaña cada vez. Se han abierto en otra.",
      go: "Usarlo aquí",
    },
    doubtful: {
      title: "Vuelve a abrir tus claves",
      why: "Este navegador falló mientras guardaba algo, y aun así lo guardó. Puede que lo último que dijiste esté ya en camino: míralo antes de enviarlo otra vez.",
      go: "Abrirlas",
    },
    forgotten: {
      title: "Olvidado",
      why: "Tus claves, salas y mensajes se quitaron de este navegador.",
      go: "Empezar de nuevo",
    },
    evicted: {
      title: "Tu navegador ha quitado tus claves",
      why: "Los navegadores lo hacen para tener sitio, o cuando se borran los datos de las páginas. Tus salas siguen sin ti: pide otra invitación.",
      go: "Empezar de nuevo",
    },
  },
  refusedNow: (reason) => `El servidor no te deja entrar ahora en esta sala: ${reason}`,
  alarmed: (sentence) => `Atención: ${sentence}`,
};
