import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { CLIENT_ADDRESS } from '../../http/index.js'
import { isPromise, type MaybePromise } from '../../maybe-promise.js'
import type { PrincipalOf } from '../../route/options.js'
import type { BackgroundRun } from '../../route/request.js'
import type { Selector } from '../../route/selector.js'
import { valueAt } from '../../value-at.js'
import { backgroundRuns, type Presented } from '../exchange.js'
import { RequestProperty } from '../request-property.js'
import type { SessionRead } from '../../session/session.js'
import { sessionOf } from '../sessions.js'
import { reportPeer, watchPeer } from './peer-watch.js'

/** Properties that libraries derive from credentials before the handler runs. */
const OF_CREDENTIALS = ['cookies', 'signedCookies', 'session', 'user', 'auth'] as const

/** Properties that frameworks derive from the address of the client. */
const OF_ADDRESS: ReadonlySet<string> = new Set(['ip', 'ips'])

const DERIVED = [...OF_CREDENTIALS, ...OF_ADDRESS]

/** Properties for which frameworks look at the address too, but only to find out whether they trust a proxy. */
const TRUSTING = ['protocol', 'secure', 'hostname', 'host', 'port', 'subdomains'] as const

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

type Fields = Iterable<readonly [name: string, value: string | string[] | undefined]>

/** A request of a framework with the message of `node:http` behind it. */
export abstract class WatchedRequest {
  abstract readonly message: object
  protected watch: ReadWatch | undefined
  /** The actual fields of the message while its handler sees watched ones. */
  protected unwatched: IncomingHttpHeaders | undefined
  #undo: (() => void) | undefined
  #endPeer: (() => void) | undefined

  /** The background run that this request was made for. */
  get background(): BackgroundRun | undefined {
    return backgroundRuns.get(this.message)
  }

  get watching(): boolean {
    return this.watch?.active === true
  }

  set watching(active: boolean) {
    if (this.watch !== undefined) this.watch.active = active
  }

  /** Asks who sends the request, unwatched. Apart from constructors, whose closures requests without `principal` would pay as well. */
  protected asking<Req>(principal: PrincipalOf<Req>, native: Req): () => ReturnType<PrincipalOf<Req>> {
    return () => this.unobserved(() => principal(native))
  }

  /** Returns the result of a read on behalf of the cache, which is not reported. */
  unobserved<T>(read: () => T): T {
    return this.watch === undefined || this.watch.isObserving ? read() : this.watch.ignoring(read)
  }

  /** Replaces the values of some request fields, in both of their forms, and reports reads. */
  protected presentMessage(message: IncomingMessage, { requestFields }: Presented): void {
    const { headers, rawHeaders } = message
    const changed = [...(requestFields ?? [])].filter(([name, value]) => headers[name] !== value)
    const sent = changed.map(([name]) => [name, headers[name]] as const)
    this.unwatched = headers
    if (changed.length > 0) {
      const isKept = (name = ''): boolean => requestFields?.has(name.toLowerCase()) !== true
      const kept = rawHeaders.filter((_, index) => isKept(rawHeaders[index - (index % 2)]))
      const shown = changed.flatMap(([name, value]) => (value === undefined ? [] : [name, value]))
      setFields(headers, changed)
      setFieldProperty(message, 'rawHeaders', [...kept, ...shown])
    }
    if (this.watch !== undefined) {
      watchMessage(message, this.watch)
      this.#endPeer = watchPeer(message, this.watch)
    }
    this.#undo = () => {
      setFieldProperty(message, 'headers', headers)
      setFieldProperty(message, 'rawHeaders', rawHeaders)
      setFields(headers, sent)
    }
  }

  restore(): void {
    this.watching = false
    this.#endPeer?.()
    this.#endPeer = undefined
    this.#undo?.()
    this.#undo = undefined
    this.unwatched = undefined
  }
}

/** Undefined hides a field. */
function setFields(headers: IncomingHttpHeaders, fields: Fields): void {
  for (const [name, value] of fields) {
    if (value === undefined) delete headers[name]
    else headers[name] = value
  }
}

/** The parts of Node's messages that show request fields. Those of HTTP/2 are getters of the prototype. */
type FieldProperty = 'headers' | 'rawHeaders' | 'headersDistinct'

function setFieldProperty<Name extends FieldProperty>(
  message: IncomingMessage,
  name: Name,
  value: IncomingMessage[Name] | undefined,
): void {
  if (message.httpVersionMajor < 2) Object.assign(message, { [name]: value })
  else Object.defineProperty(message, name, { value, configurable: true, enumerable: true, writable: true })
}

/**
 * Replaces the fields of a message by watched views. A view is a proxy: replacing properties of the object itself would make
 * V8 give up its shape, and would not report enumeration.
 */
function watchMessage(message: IncomingMessage, watch: ReadWatch): void {
  const { headers, rawHeaders } = message
  const isPresent = (name: string): boolean => headers[name] !== undefined
  const read = (name: string | symbol): void => {
    if (typeof name === 'string') watch.read(name)
  }
  const watchedHeaders = new Proxy(headers, {
    get(target, name) {
      read(name)
      return Reflect.get(target, name)
    },
    has(target, name) {
      read(name)
      return Reflect.has(target, name)
    },
    getOwnPropertyDescriptor(target, name) {
      read(name)
      return Reflect.getOwnPropertyDescriptor(target, name)
    },
    ownKeys(target) {
      watch.readAll(isPresent)
      return Reflect.ownKeys(target)
    },
  })
  const watchedList = new Proxy(rawHeaders, {
    get(target, name) {
      if (typeof name === 'string' && /^\d/.test(name)) watch.readAll(isPresent)
      return Reflect.get(target, name)
    },
  })
  setFieldProperty(message, 'headers', watchedHeaders)
  setFieldProperty(message, 'rawHeaders', watchedList)
  // Node derives these from `rawHeaders` on first access and keeps them.
  if (message.httpVersionMajor < 2) setFieldProperty(message, 'headersDistinct', undefined)
}

/** The watches of watched objects. */
const watches = new RequestProperty<ReadWatch>()

export function watchOf(object: object): ReadWatch | undefined {
  return watches.get(object)
}

/** Prototypes, each with the prototype that reports reads. */
const watchedPrototypes = new WeakMap<object, object>()

/** Inserts a prototype that reports reads. Objects of one class share it, so they keep their shape. */
export function watchPrototype<T extends object>(object: T, watch: ReadWatch, make: (parent: T) => object): void {
  const isWatched = watches.has(object)
  watches.set(object, watch)
  if (isWatched) return
  const parent = Object.getPrototypeOf(object) as T
  const watched = valueAt(watchedPrototypes, parent, () => make(parent))
  Object.setPrototypeOf(object, watched)
}

/** Reports reads of properties that libraries derive from credentials, whether or not the request has them. */
export function watchDerived(request: object, watch: ReadWatch): void {
  for (const name of watches.has(request) ? [] : DERIVED) {
    const own = Object.getOwnPropertyDescriptor(request, name)
    if (own !== undefined && own.configurable !== false) watchOwn(request, name, own)
  }
  watchPrototype(request, watch, derivedPrototype)
}

function watchOwn(request: object, name: string, own: PropertyDescriptor): void {
  let { value } = own as { value: unknown }
  Object.defineProperty(request, name, {
    configurable: true,
    enumerable: own.enumerable ?? false,
    get() {
      return readDerived(request, name, () => (own.get === undefined ? value : (own.get.call(request) as unknown)))
    },
    set(next: unknown) {
      if (own.set === undefined) value = next
      else own.set.call(request, next)
    },
  })
}

function derivedPrototype(parent: object): object {
  const properties = DERIVED.map((name): [string, PropertyDescriptor] => [
    name,
    {
      configurable: true,
      get(this: object): unknown {
        return readDerived(this, name, () => Reflect.get(parent, name, this))
      },
      set(this: object, value: unknown): void {
        if (Reflect.has(parent, name)) Reflect.set(parent, name, value, this)
        else watchOwn(this, name, { value, enumerable: true })
      },
    },
  ])
  const trusting = TRUSTING.filter((name) => name in parent).map((name): [string, PropertyDescriptor] => [
    name,
    {
      configurable: true,
      get(this: object): unknown {
        const read = (): unknown => Reflect.get(parent, name, this)
        const watch = watches.get(this)
        return watch === undefined ? read() : watch.trusting(read)
      },
      set(this: object, value: unknown): void {
        Reflect.set(parent, name, value, this)
      },
    },
  ])
  return Object.create(parent, Object.fromEntries([...properties, ...trusting])) as object
}

function readDerived(request: object, name: string, read: () => unknown): unknown {
  const watch = watches.get(request)
  if (watch === undefined) return read()
  // The framework reads the connection and fields that proxies set.
  return watch.readProperty(name, OF_ADDRESS.has(name) ? watch.ignoring(read) : read())
}
