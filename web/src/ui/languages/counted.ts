/** So many of something, in languages that tell one from many by the noun alone. */
export const counted = (count: number, one: string, many: string): string =>
  `${count} ${count === 1 ? one : many}`;
