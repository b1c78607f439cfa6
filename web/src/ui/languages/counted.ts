/** So many of something, in languages that tell one from many by the noun alone. */
export const counted = (count: number, one: string, many: string): string =>
  `${count} ${count === 1 ? one : many}`;

/** Those of two things that there are. */
export const both = (one: string | false, other: string | false, and: string): string =>
  [one, other].filter(Boolean).join(` ${and} `);
