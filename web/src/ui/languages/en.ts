/** Every sentence of the page in English; the other languages have the same keys. */

import type { Hindrance, Outcome } from "../../client/comparing.ts";
import type { ToldCode } from "../../client/told.ts";
import type { Ending } from "../../client/vault.ts";
import type { Role } from "../../protocol/records.ts";
import { both, counted } from "./counted.ts";
import { told } from "./told-en.ts";

const roles = { root: "owner", "co-owner": "co-owner", member: "member", readonly: "reads only" };

/** Somebody, as they are called; to the reader some languages speak in other words. */
export interface Who {
  readonly name: string;
  readonly isReader: boolean;
}

export const en = {
  told: told as Record<ToldCode, string>,
  loading: "Loading…",
  insecure:
    "This page needs a safe connection: open it with https:// (or at localhost on this machine).",
  coreMissing: "The encryption core could not be loaded. Reload the page.",
  noStorage:
    "Your browser lets this page keep nothing: it may be a private window, or a setting. Your keys have to be kept in the browser.",
  broken: (sentence: string) => `Something went wrong: ${sentence}`,
  dismiss: "Dismiss",
  newVersion: "There is a new version of this page. Using it asks for your passphrase again.",
  useNewVersion: "Use it now",

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
  invited: "You were invited to a room. First, open your keys in this browser.",

  rooms: "Rooms",
  noRooms: "No rooms yet. Make one, or join one by an invite link.",
  join: "Join a room",
  joinTitle: "Join a room",
  joinInvited: "You were invited. What shall the others call you?",
  inviteLink: "Invite link",
  inviteHint: "Paste the whole link, with all that stands behind the # in it.",
  yourName: "Your name",
  nameMissing: "Give a name that the others will see.",
  joinGo: "Join",
  badLink: "This is no whole invite link. Copy it again, from its beginning to its end.",
  joinThrough: "Join through another relay",
  joinThroughHint:
    "As wss://relay.example: your own, which passes on to the room's and keeps a sealed copy. Empty: the room's own.",
  joinRefused: (reason: string) => `You could not be let in: ${reason}`,
  waitingTitle: "Waiting to be let in",
  asking: "Asking the relay…",
  waiting:
    "Your request has arrived. You are let in as soon as somebody who may do so is online. You can close this page: it goes on when you come back.",
  joinFailed: "This did not work",
  giveUp: "Give up",
  back: "Back",
  pending: "waiting to be let in",
  /** A room whose name is not known before one is in it. */
  unnamed: "Room that you asked to join",
  unread: (count: string) => `${count} unread`,
  you: "You",
  /** Whom something was done to. */
  toYou: "you",

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
  newest: (unread: string) =>
    unread ? `Back to the newest messages (${unread} unread)` : "Back to the newest messages",
  beginning: "This is as far back as you can read.",
  nothingYet: "Nothing has been said here yet.",
  today: "Today",
  yesterday: "Yesterday",
  edited: "edited",
  redacted: "This message was deleted.",
  redactedWhy: (reason: string) => `This message was deleted: ${reason}`,
  unreadable: (reason: string) => `This message can not be read: ${reason}`,
  unknownKind: (kind: string) => `A newer kind of message (${kind}), which this page can not show.`,
  file: (name: string, size: string) => `${name}, ${size}`,
  replyTo: (name: string) => `Reply to ${name}`,
  replyGone: "a message that is not here",
  newFrom: (name: string, text: string) => `${name}: ${text}`,
  nameless: (mid: string) => `Somebody (${mid})`,
  via: (network: string) => `via ${network}, not verified`,
  showAll: "Show all of it",
  leadsTo: (address: string) => `leads to ${address}`,
  changes: {
    invite_open: () => "",
    invite_close: () => "",
    genesis: () => "",
    rekey: () => "",
    admit: (who: Who, whom: Who) => `${who.name} let ${whom.name} in`,
    rekey_boxed: (who: Who, whom: Who) =>
      `${who.name} removed ${whom.name}; the room has a new key`,
    leave: (who: Who) => `${who.name} left`,
    grant: (who: Who, whom: Who) => `${who.name} changed what ${whom.name} may do`,
    handover: (who: Who, whom: Who) => `${who.name} handed the room over to ${whom.name}`,
    home: (who: Who) => `${who.name} went to another relay`,
    hub_move: (who: Who) => `${who.name} moved the room to another relay`,
    close: (who: Who) => `${who.name} closed the room`,
  } satisfies Record<string, (who: Who, whom: Who) => string>,
  somethingChanged: (who: Who) => `${who.name} changed the room`,

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
  forgetBlocked:
    "Your keys, rooms and messages are gone. Another tab of this page sleeps and still holds what they were in: close it to go on.",
  about: "About this relay",

  making: {
    open: "New room",
    title: "Make a room",
    why: "You are its owner: you invite, and remove. The relay keeps sealed messages and has no key.",
    name: "Name of the room",
    nameMissing: "Give the room a name.",
    elsewhere: "At another relay",
    relay: "Address of the relay",
    relayHint: "As wss://relay.example. Your browser trusts the first key that answers there.",
    badRelay: "An address of a relay begins with wss:// (or ws:// on this machine).",
    token: "Token, if the relay asks for one",
    go: "Make it",
    refused: (reason: string) => `The relay did not take the room: ${reason}`,
  },
  invites: {
    open: "Invite",
    title: "Invite somebody",
    why: "One link lets one person in, once. Whoever has it can join: send it over a way you trust.",
    role: "They may",
    roles: {
      member: "read and write",
      readonly: "only read",
      bot: "read and write, as a bot",
      bridge: "read and write, as a bridge to another network",
      "co-owner": "own the room with me",
    },
    good: "Good for",
    hours: (count: number) => (count === 1 ? "1 hour" : `${count} hours`),
    days: (count: number) => (count === 1 ? "1 day" : `${count} days`),
    go: "Make a link",
    link: "Invite link",
    copy: "Copy",
    copied: "Copied.",
    share: "Share",
    qr: "QR code of the link: scan it with the other device's camera",
    stay: "Keep this page open until they are in: your browser lets them in.",
    waiting: (until: string) => `Not used yet, good until ${until}`,
    close: "Take back",
    shareText: (room: string) => `Join me in ${room}`,
  },
  membership: {
    actions: "What to do with this member",
    verify: "I have compared it: it is the same",
    verified: "compared",
    changed: "The keys are not those that you compared. Compare again.",
    rotate: "Renew the key now",
    leave: "Leave the room",
    leaveSure: "Leave for good? You need a new invite to come back.",
    rootStays: "You own this room: hand it over before you leave.",
    evict: "Remove",
    evictSure: (name: string) =>
      `Remove ${name}? The room gets a new key, and they read on no more.`,
    makeOwner: "Make co-owner",
    makeMember: "Make member",
    makeReader: "Let only read",
    handOver: "Hand the room over",
    handOverSure: (name: string) => `Make ${name} the owner of this room, once they accept?`,
    offered: (name: string) => `${name} offers you this room.`,
    accept: "Take it over",
    sure: "Yes",
    failed: (reason: string) => `This was refused: ${reason}`,
    key: (epoch: number) => `Room key number ${epoch}`,
    sponsor: (name: string) => `brought by ${name}`,
  },
  moving: {
    title: "My relay for this room",
    here: (host: string) => `You reach this room through ${host}.`,
    ordered: (host: string) => `It passes on to ${host}, which orders the room.`,
    why: "You can go to another one, also where yours is gone: you stay the same member, and what waits here is sent from there.",
    go: "Use this relay",
    done: (host: string) => `You are at ${host} now.`,
    waits: (host: string) =>
      `The room knows that you are at ${host} now. It has not let you in yet: see what it says above.`,
    localOnly: "This room stays at its own relay: whoever made it wanted it so.",
    under: "On the way: this may take a minute.",
    room: "Move the room to another relay",
    at: (host: string) => `${host} orders this room, and invites lead there.`,
    roomWhy:
      "Everybody follows by themselves, and stays with the relay that they use. The relay so far has to be there, and to agree. Where nobody uses the new relay for this room yet, you go there first, and stay there whatever becomes of the move. Open invites end: make new ones.",
    newRelay: "Address of the new relay",
    roomGo: "Move the room",
    roomSure: (host: string) => `Move the room to ${host}, for everybody?`,
    moved: (host: string) => `The room is at ${host} now.`,
    movedWaits: (host: string) =>
      `The room is at ${host} now. It has not let you in yet: see what it says above.`,
    gone: "The room's relay is gone for good",
    goneWhy:
      "Only then: the room goes on from the copy of another relay, where a member is at home. What that copy lacks comes to nothing, for everybody. First it is looked what that is.",
    copyRelay: "Address of a relay with a copy",
    certain: "It has to be a certain relay",
    id: "Id of that relay",
    idHint:
      "64 digits and letters from a to f, as whoever runs it tells you. If another relay answers, nothing is done.",
    badId: "The id of a relay is 64 characters long: digits, and letters from a to f.",
    look: "Look at its copy",
    lacks: (host: string, messages: number, own: number) =>
      `${messages === 0 ? `The copy at ${host} has all that you have seen.` : `The copy at ${host} lacks ${counted(messages, "message", "messages")} that you have, ${own} of yours: those are sent again.`} Whatever else the relay so far has ordered would be void for everybody, seen by you or not. Have the room go on at ${host}?`,
    forced: (host: string) =>
      `The room is at ${host} now. Tell whoever used the old relay to choose this one under Members.`,
    notReady: (host: string) =>
      `The room stays where it is: ${host} does not have all of it yet, or the two relays do not talk to each other. Your own relay for it may be ${host} by now: see above. Try again in a while.`,
  },
  voided: {
    title: "What came to nothing",
    what: (messages: number, changes: number) =>
      `The owner moved this room to another relay, because its own is gone for good. That relay did not have ${both(messages > 0 && counted(messages, "message", "messages"), changes > 0 && `${counted(changes, "change", "changes")} of the room`, "and") || "something"} that you had: nobody's room has that any more.`,
    again: (own: number) =>
      own === 1
        ? "One thing of yours among them is sent again."
        : `${own} things of yours among them are sent again.`,
    show: "Show what others have not sent again",
    none: "All of it has been sent again.",
    forget: "Delete them from this browser",
    sure: "Delete what came to nothing? Nobody can bring it back.",
    unreadable: "a message that can not be read",
  },
  scanning: {
    open: "Scan a QR code",
    theirs: "Scan theirs",
    seen: "What the camera sees",
    hold: "Hold the code before the camera.",
    denied: "Your browser does not let this page use the camera.",
    none: "There is no camera that could be used.",
    differs: "That code says another number: do not trust these keys before you know why.",
  },
  phrases: {
    why: (name: string) =>
      `Or agree with ${name} on a secret phrase, and both type it: nobody learns anything but whether it is the same. Three times a day.`,
    asked: (name: string) =>
      `${name} has typed a phrase to compare with you. Type the one that you agreed on; they wait ten minutes.`,
    phrase: "Phrase that both type",
    go: "Compare the phrase",
    waiting: (name: string) => `Waiting until ${name} types it too…`,
    stop: "Stop waiting",
    tooShort: "Use at least six characters.",
    banner: (name: string) => `${name} wants to compare a phrase with you: see Members.`,
    refused: {
      running: "A comparison with this member is under way.",
      limit:
        "Three comparisons a day, so that nobody guesses the phrase. Compare the number, or wait.",
      forbidden: "You can not compare with this member.",
    } satisfies Record<Hindrance, string>,
    outcomes: {
      same: "The same phrase: these are the genuine keys.",
      different: "Not the same phrase. Ask them, over another way, whether they mistyped it.",
      expired: "They did not finish in time. Agree on a moment, and try again.",
      gone: "That member is no longer in the room.",
      given_up: "It was given up. Ask them, and try again.",
      restarted: "The page was reloaded meanwhile. Try again.",
      moved: "Root moved the room without what was said last. Try again.",
      broken: "The other side did not keep to the steps: nothing was learnt. Ask what they run.",
    } satisfies Record<Outcome, string>,
  },
  devices: {
    title: "My other device?",
    why: (name: string) =>
      `If ${name} is you on another device, say so here and there: all see that it is one person. It gives no rights.`,
    said: (name: string) =>
      `You have said that ${name} is you. It shows once ${name} has said so too.`,
    say: "This is me",
    unsay: "This is not me",
    same: (name: string) => `same person as ${name}`,
  },
  files: {
    attach: "Attach a file",
    drop: "Drop it here to send it, sealed",
    sending: (name: string, percent: string) => `Sending ${name}: ${percent}`,
    failed: (name: string, reason: string) => `${name} was not sent: ${reason}`,
    lost: (name: string) =>
      `${name} was not sent: the page was closed before it was read. Choose it again.`,
    stop: "Stop",
    get: "Download",
    getting: (percent: string) => `Downloading: ${percent}`,
    show: "Show the picture",
    enlarge: (name: string) => `Picture ${name}: show it large`,
    picture: (name: string) => `Picture ${name}`,
    broken: (reason: string) => `This file can not be shown: ${reason}`,
    noPicture: "This is no picture that can be shown.",
  },
  typing: (names: string, count: number) =>
    count === 1 ? `${names} is writing…` : `${names} are writing…`,
  marks: {
    sent: "sent: the relay has it",
    /** Names, how many more have it, and of how many that is not known. */
    delivered: (names: string, more: number, awaited: number) =>
      `delivered to ${names}${more > 0 ? ` and ${more} more` : ""}${
        awaited > 0 ? `, not known of ${awaited}` : ""
      }`,
  },
  mentionList: "Members to mention",
  newMessages: "New messages",
  search: {
    open: "Search",
    title: "Search in this room",
    words: "Words to look for",
    found: (count: number) => (count === 1 ? "1 message found" : `${count} messages found`),
    results: "Messages found",
    more: "Only the newest are shown.",
    nothing: "Nothing was found among the messages kept in this browser.",
  },
  settings: {
    open: "Settings",
    title: "Settings",
    notify: "Tell me of new messages when I am not looking",
    notifyHint: "Your browser shows it, and only says in which room. No server is asked.",
    notifyDenied: "Your browser does not let this page show notifications.",
    newIn: (room: string) => `New message in ${room}`,
    mentioned: (room: string) => `Somebody mentioned you in ${room}`,
    exportRoom: "Save the messages as a file",
    exportHint: "In clear: whoever has the file can read it.",
    check: "Check what this relay served you",
  },
  endings: {
    taken: {
      title: "Open in another tab",
      why: "Your keys are used in one tab at a time. They were opened in another one.",
      go: "Use it here",
    },
    doubtful: {
      title: "Open your keys again",
      why: "This browser failed while it wrote something down, and has it all the same. What you said last may be on its way: look there before you send it again.",
      go: "Open them",
    },
    forgotten: {
      title: "Forgotten",
      why: "Your keys, rooms and messages were removed from this browser.",
      go: "Begin anew",
    },
    evicted: {
      title: "Your browser has removed your keys",
      why: "Browsers do that to make room, or when the data of sites are cleared. Your rooms go on without you: ask for a new invite.",
      go: "Begin anew",
    },
  } satisfies Record<Ending, object>,
  refusedNow: (reason: string) => `The relay does not let you into this room just now: ${reason}`,
  alarmed: (sentence: string) => `Look out: ${sentence}`,
};

export type Strings = typeof en;
