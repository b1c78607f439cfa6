/** The invite that the page was opened with. */

import { SCHEME } from "../e2e/invites.ts";

/**
 * The invite behind the `#`, or "". It is a secret, so it leaves the address bar before anything else
 * happens. What the browser's history has noted by then, no page can take away (docs/browser.md).
 */
export function takeInvitation(location: Location, history: History): string {
  const fragment = location.hash.slice(1);
  if (fragment !== "") history.replaceState(null, "", location.pathname + location.search);
  return fragment.startsWith(SCHEME) ? fragment : "";
}
