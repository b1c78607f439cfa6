/** Bring somebody in: a link, as text, as QR code, or through what the device shares with. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Room } from "../client/room.ts";
import type { OpenInvite } from "../client/roomview.ts";
import { hex } from "../protocol/bytes.ts";
import type { Role } from "../protocol/records.ts";
import { shortTime } from "./format.ts";
import { Panel, useDoing } from "./panel.tsx";
import { Problem } from "./parts.tsx";
import { QrCode } from "./qr.tsx";
import { type Strings, useStrings } from "./strings.ts";

const HOUR_MS = 3_600_000;
const HOURS = [1, 24, 48, 24 * 7] as const;
const USUAL_HOURS = 48;
/** What somebody is let in as. */
type Granted = Exclude<Role, "root"> | Kind;
/** What is no person, and is marked so for everybody. */
type Kind = "bot" | "bridge";

const isKind = (granted: Granted): granted is Kind => granted === "bot" || granted === "bridge";

const span = (hours: number, { invites }: Strings) =>
  hours < 24 ? invites.hours(hours) : invites.days(hours / 24);

export function Invite({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const strings = useStrings();
  const { invites } = strings;
  const [role, setRole] = useState<Granted>("member");
  const [hours, setHours] = useState(USUAL_HOURS);
  const { problem, isBusy, run } = useDoing();
  const isRoot = hex(room.state.root) === room.me;
  const roles: readonly Granted[] = [
    "member",
    "readonly",
    ...(isRoot ? (["co-owner"] as const) : []),
    ...(room.isOwner ? (["bot", "bridge"] as const) : []),
  ];
  const go = (event: Event) => {
    event.preventDefault();
    const expires = Date.now() + hours * HOUR_MS;
    void run(() =>
      isKind(role)
        ? room.invite({ role: "member", caps: [role], expires })
        : room.invite({ role, expires }),
    );
  };
  return (
    <Panel title={invites.title} onClose={onClose}>
      <form class="part" onSubmit={go}>
        <p>{invites.why}</p>
        <label>
          {invites.role}{" "}
          <select
            autocomplete="off"
            value={role}
            onChange={(event) => setRole(event.currentTarget.value as Granted)}
          >
            {roles.map((one) => (
              <option key={one} value={one}>
                {invites.roles[one]}
              </option>
            ))}
          </select>
        </label>
        <label>
          {invites.good}{" "}
          <select
            autocomplete="off"
            value={hours}
            onChange={(event) => setHours(Number(event.currentTarget.value))}
          >
            {HOURS.map((one) => (
              <option key={one} value={one}>
                {span(one, strings)}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="main" aria-disabled={isBusy}>
          {isBusy ? strings.working : invites.go}
        </button>
        <Problem text={problem} />
      </form>
      <ul>
        {room
          .invites()
          .sort((one, other) => other.expires - one.expires)
          .map((one) => (
            <InviteRow key={one.id} room={room} invite={one} />
          ))}
      </ul>
    </Panel>
  );
}

function InviteRow({ room, invite }: { room: Room; invite: OpenInvite }): JSX.Element {
  const { invites } = useStrings();
  const [isCopied, setCopied] = useState(false);
  const { problem, isBusy, run } = useDoing();
  const copy = async () => {
    await navigator.clipboard.writeText(invite.link);
    setCopied(true);
  };
  const share = () =>
    // A person may close the share sheet again.
    navigator.share({ title: invites.shareText(room.name), url: invite.link }).catch(() => {});
  return (
    <li class="part">
      <QrCode text={invite.link} label={invites.qr} />
      <input
        class="link"
        readOnly
        autocomplete="off"
        aria-label={invites.link}
        value={invite.link}
        onFocus={(event) => event.currentTarget.select()}
      />
      <p class="row">
        <button type="button" class="main" onClick={copy}>
          {invites.copy}
        </button>
        {"share" in navigator && (
          <button type="button" onClick={share}>
            {invites.share}
          </button>
        )}
        <button
          type="button"
          aria-disabled={isBusy}
          onClick={() => run(() => room.closeInvite(invite.id))}
        >
          {invites.close}
        </button>
      </p>
      <p class="hint" role="status">
        {isCopied && invites.copied} {invites.waiting(shortTime(invite.expires))}. {invites.stay}
      </p>
      <Problem text={problem} />
    </li>
  );
}
