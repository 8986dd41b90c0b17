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

const AUTHORITY = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@/?#]*)(.*)$/is
const HOST = /^\s*(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{0,5})?\s*$/i
const DATABASE = /^(\/\d*)?$/

/**
 * What a message shows of an address that is wrong: its scheme and hosts. From the first text that is no host on it
 * shows nothing, because that may be a password whose `@host` was forgotten, commas and all.
 */
export function masked(text: string): string {
  const [, scheme = '', userinfo, list = '', rest = ''] = AUTHORITY.exec(text) ?? []
  const hosts = list.split(',')
  const wrong = hosts.findIndex((host) => !HOST.test(host))
  const shown = wrong === -1 ? list : [...hosts.slice(0, wrong), MASK].join(',')
  return `${scheme}${userinfo === undefined ? '' : `${MASK}@`}${shown}${DATABASE.test(rest) ? rest : '/…'}`
}
