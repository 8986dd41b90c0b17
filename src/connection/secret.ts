import { inspect } from 'node:util'

const MASK = '***'

/** Text that does not show itself: not in a string, JSON, an inspection or a log. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  toString(): string {
    return MASK
  }

  toJSON(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}

/** `text` without its secrets: what a message says of a URL that is wrong. */
export function masked(url: string): string {
  const end = url.lastIndexOf('@')
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] ?? ''
  return end === -1 ? url : `${scheme}${MASK}@${url.slice(end + 1)}`
}
