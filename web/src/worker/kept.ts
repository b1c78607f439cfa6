/** What a version of the page is, and which requests are for a file of it. */

/** A file of the page, by its path beside index.html. */
export type Kept = string;

export interface Version {
  /** The checksum of all checksums. */
  readonly version: string;
  /** Checksums as `integrity` has them. */
  readonly files: Readonly<Record<Kept, string>>;
}

/** The file that a request asks for, if it is one of these; all else goes to the relay. */
export function pathIn(
  files: Version["files"],
  { method, url }: Pick<Request, "method" | "url">,
  scope: string,
): Kept | undefined {
  const address = new URL(url);
  if (method !== "GET" || address.search !== "") return undefined;
  const path = address.origin + address.pathname;
  if (!path.startsWith(scope)) return undefined;
  const file = path.slice(scope.length) || "index.html";
  return Object.hasOwn(files, file) ? file : undefined;
}
