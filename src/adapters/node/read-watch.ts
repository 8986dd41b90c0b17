import { CLIENT_ADDRESS } from '../../http/index.js'
import { isPromise, type MaybePromise } from '../../maybe-promise.js'
import type { Selector } from '../../route/selector.js'
import type { SessionRead } from '../../session/session-request.js'
import type { Presented } from '../exchange.js'
import { sessionOf } from '../sessions.js'
import { reportPeer } from './peer-watch.js'

/** Properties that libraries derive from credentials before the handler runs. */
const OF_CREDENTIALS = ['cookies', 'signedCookies', 'session', 'user', 'auth'] as const

/** Properties that frameworks derive from the address of the client. */
export const OF_ADDRESS: ReadonlySet<string> = new Set(['ip', 'ips'])

/** All properties of a request whose reads are watched. */
export const DERIVED = [...OF_CREDENTIALS, ...OF_ADDRESS]

/** Those derived from cookies alone. */
const OF_COOKIE: ReadonlySet<string> = new Set(['cookies', 'signedCookies', 'session'])

/** Reports reads of data that identifies users and is not part of the key: request fields, and properties derived from them. */
export class ReadWatch {
  readonly #run: Presented
  /** What the functions that select the entry have read; it is part of the key. */
  readonly #keyed = new Set<string>()
  /** Properties that were no object for a function that selects the entry by a value, with what they were. */
  readonly #keyedValues = new Map<string, unknown>()
  /** Whether such a function is running. */
  #selector: Selector | undefined
  /** Whether the framework reads the address, and not the handler. */
  #trusting = false
  /** Only reads for the response count, not those of hooks, sessions and loggers after the handler. */
  active = true

  constructor(run: Presented) {
    this.#run = run
  }

  /** Whether one of the fields can contain a user's credentials or address. */
  get watchesClient(): boolean {
    return ['cookie', 'authorization', CLIENT_ADDRESS].some((name) => this.#run.watched.includes(name))
  }

  /** Calls the functions that selected the entry again; what they read no longer counts. */
  observe([selector, ...rest]: readonly Selector[]): MaybePromise<void> {
    if (selector === undefined) return
    const done = (): MaybePromise<void> => {
      this.#selector = undefined
      return this.observe(rest)
    }
    this.#selector = selector
    try {
      const called = selector.call()
      // Their errors were reported at the lookup.
      return isPromise(called) ? Promise.resolve(called).then(done, done) : done()
    } catch {
      return done()
    }
  }

  read(name: string): void {
    if (!this.active || !this.#run.watched.includes(name)) return
    // A value derived from the whole field does not cover the rest of it.
    if (this.#selector?.isOwner === true) this.#keyed.add(name)
    else if (this.#selector === undefined && !this.#keyed.has(name)) this.#run.noteRead(name, name)
  }

  /** All fields were enumerated, which also reads those that are absent: another request may have them. */
  readAll(isPresent: (name: string) => boolean): void {
    if (!this.active) return
    const watched = this.#run.watched.filter((name) => name !== CLIENT_ADDRESS)
    if (this.#selector?.isOwner === true) return watched.forEach((name) => this.#keyed.add(name))
    const unkeyed = watched.filter((name) => !this.#keyed.has(name))
    const name = unkeyed.find(isPresent) ?? unkeyed[0]
    if (this.#selector === undefined && name !== undefined) this.#run.noteRead(name, name)
  }

  /** Reads on behalf of the cache. Those of a function that selects the entry are observed. */
  ignoring<T>(read: () => T): T {
    const { active } = this
    this.active = false
    try {
      return read()
    } finally {
      this.active = active
    }
  }

  /** Reads of a framework that finds out whether it trusts a proxy. */
  trusting<T>(read: () => T): T {
    this.#trusting = true
    try {
      return read()
    } finally {
      this.#trusting = false
    }
  }

  get isObserving(): boolean {
    return this.#selector !== undefined
  }

  /**
   * The session was read. If `per` or `key` reads it, it is part of the key as a whole. If its subject is the principal,
   * the subject is part of the key of anonymous requests, too: they have none.
   */
  readSession(what: SessionRead): void {
    if (!this.active || !this.#run.watched.includes('cookie')) return
    const name = 'request.session'
    const subject = `${name}.subject`
    if (this.#selector?.isOwner === true) this.#keyed.add(name)
    else if (this.#selector !== undefined) {
      if (what === 'principal') this.#keyed.add(subject)
    } else if (!this.#keyed.has(name) && (what === 'data' || !this.#keyed.has(subject)))
      this.#run.noteRead(what === 'data' ? name : subject, 'cookie')
  }

  /** The address or the certificate of the client was read from its connection, or the address as the framework has it. */
  readPeer(member: string, value: unknown): void {
    const isAddress = member === 'remoteAddress' || OF_ADDRESS.has(member)
    const name = OF_ADDRESS.has(member) ? `request.${member}` : `socket.${member}`
    if (!this.active || (isAddress && (this.#trusting || !this.#run.watched.includes(CLIENT_ADDRESS)))) return
    if (this.#keyed.has(name)) return
    if (this.#keyedValues.has(name) && Object.is(this.#keyedValues.get(name), value)) return
    if (this.#selector === undefined) this.#run.noteRead(name, undefined)
    else if (this.#selector.isOwner) this.#keyed.add(name)
    else this.#keyedValues.set(name, value)
  }

  /** A property that a library derived from credentials was read. Returns the value to hand out. */
  readProperty(property: string, value: unknown): unknown {
    if (OF_ADDRESS.has(property)) {
      reportPeer(this, property, value)
      return value
    }
    const name = `request.${property}`
    const field = OF_COOKIE.has(property) ? 'cookie' : undefined
    const isKeyed = field !== undefined && !this.#run.watched.includes(field)
    const isSame = this.#keyedValues.has(name) && Object.is(this.#keyedValues.get(name), value)
    if (!this.active || isKeyed || isSame || this.#keyed.has(name)) return value
    const isObject = typeof value === 'object' && value !== null
    if (this.#selector !== undefined) {
      if (this.#selector.isOwner) this.#keyed.add(name)
      else if (isObject) return viewOf(value, (member) => this.#keyed.add(`${name}.${member}`))
      // A library behind the cache may make something else of it.
      else this.#keyedValues.set(name, value)
      return value
    }
    const report = (what: string): void => {
      if (this.active) this.#run.noteRead(what, field)
    }
    // A function that selects the entry has read some of its members: those, and its presence, are part of the key.
    if (isObject && [...this.#keyed].some((one) => one.startsWith(`${name}.`)))
      return viewOf(value, (member) => {
        if (!this.#keyed.has(`${name}.${member}`)) report(`${name}.${member}`)
      })
    report(name)
    return value
  }
}

/** Reports that a handler reads the session, wherever it got that from. */
export function watchSession(request: object, watch: ReadWatch | undefined): void {
  sessionOf(request)?.onRead(watch && ((what) => watch.readSession(what)))
}

/** Wraps an object so that reads of its members are reported. Its methods act on the object itself. */
function viewOf(object: object, read: (member: string) => void): object {
  return new Proxy(object, {
    get(target, member) {
      if (typeof member === 'string') read(member)
      const value: unknown = Reflect.get(target, member, target)
      // A proxy must return the actual value of a property that is read-only and not configurable.
      const isMethod = typeof value === 'function' && !Object.hasOwn(target, member)
      return isMethod ? (value.bind(target) as unknown) : value
    },
    set: (target, member, value) => Reflect.set(target, member, value, target),
    has(target, member) {
      if (typeof member === 'string') read(member)
      return Reflect.has(target, member)
    },
    ownKeys(target) {
      for (const member of Object.keys(target)) read(member)
      read('*')
      return Reflect.ownKeys(target)
    },
  })
}
