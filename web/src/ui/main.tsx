/** Where the page begins. */

import { render } from "preact";

import "./style.css";
import { App } from "./app.tsx";
import { takeInvitation } from "./invitation.ts";
import { StringsContext, stringsOf, tagOf } from "./strings.ts";

const invitation = takeInvitation(location, history);
const language = tagOf(navigator.languages);
document.documentElement.lang = language;

render(
  <StringsContext.Provider value={stringsOf(language)}>
    <App invitation={invitation} />
  </StringsContext.Provider>,
  document.getElementById("page") as HTMLElement,
);
