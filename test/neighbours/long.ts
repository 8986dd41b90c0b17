/** A text that is worth compressing. */
export const LONG = Array.from({ length: 200 }, (_, line) => `line ${line} of a text`).join('\n')
