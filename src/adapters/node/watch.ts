import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** Reports reads of the request fields that are no part of the key and tell users apart. */
export class ReadWatch {
  readonly #names: readonly string[]
  readonly #report: (name: string) => void
  /** Only what is read for the response counts: not what hooks, sessions and loggers read after the handler. */
  active = true

  constructor(names: readonly string[], report: (name: string) => void) {
    this.#names = names
    this.#report = report
  }

  /** Whether one of the fields can carry a user's credentials. */
  get watchesCredentials(): boolean {
    return this.#names.includes('cookie') || this.#names.includes('authorization')
  }

  read(name: string): void {
    if (this.active && this.#names.includes(name)) this.#report(name)
  }

  /** All fields were enumerated. That is a read even of those that are absent: another request may have them. */
  readAll(isPresent: (name: string) => boolean): void {
    const name = this.#names.find(isPresent) ?? this.#names[0]
    if (this.active && name !== undefined) this.#report(name)
  }

  /** Reads on behalf of the cache. */
  ignoring<T>(read: () => T): T {
    const { active } = this
    this.active = false
    try {
      return read()
    } finally {
      this.active = active
    }
  }

  readProperty(name: string): void {
    if (this.active) this.#report(`request.${name}`)
  }
}

/** The parts of Node's messages that show request fields. Those of HTTP/2 are getters of the prototype. */
type FieldProperty = 'headers' | 'rawHeaders' | 'headersDistinct'

export function setFieldProperty<Name extends FieldProperty>(
  message: IncomingMessage,
  name: Name,
  value: IncomingMessage[Name] | undefined,
): void {
  if (message.httpVersionMajor < 2) Object.assign(message, { [name]: value })
  else Object.defineProperty(message, name, { value, configurable: true, enumerable: true, writable: true })
}

/**
 * Shows other values of some fields than the client sent, in both of their forms; undefined hides a field. Returns a
 * function that puts them back.
 */
export function showFields(
  message: IncomingMessage,
  fields: ReadonlyMap<string, string | undefined>,
): (() => void) | undefined {
  const { headers, rawHeaders } = message
  const changed = [...fields].filter(([name, value]) => headers[name] !== value)
  if (changed.length === 0) return undefined
  const before = changed.map(([name]) => [name, headers[name]] as const)
  const kept = rawHeaders.filter((_, index) => !fields.has((rawHeaders[index - (index % 2)] ?? '').toLowerCase()))
  for (const [name, value] of changed) {
    setOrDelete(headers, name, value)
    if (value !== undefined) kept.push(name, value)
  }
  setFieldProperty(message, 'rawHeaders', kept)
  return () => {
    for (const [name, value] of before) setOrDelete(headers, name, value)
    setFieldProperty(message, 'rawHeaders', rawHeaders)
  }
}

function setOrDelete(headers: IncomingHttpHeaders, name: string, value: string | string[] | undefined): void {
  if (value === undefined) delete headers[name]
  else headers[name] = value
}

/**
 * Puts watched views of its fields on a message. A view is a proxy, since replacing properties of the object itself
 * makes V8 give up its shape, and enumeration has to be seen as well.
 */
export function watchMessage(message: IncomingMessage, watch: ReadWatch): void {
  const { headers, rawHeaders } = message
  const isPresent = (name: string): boolean => headers[name] !== undefined
  setFieldProperty(message, 'headers', watchedHeaders(headers, watch, isPresent))
  setFieldProperty(message, 'rawHeaders', watchedList(rawHeaders, watch, isPresent))
  // Node makes these from `rawHeaders` when they are asked for, and keeps them.
  if (message.httpVersionMajor < 2) setFieldProperty(message, 'headersDistinct', undefined)
}

function watchedHeaders(
  headers: IncomingHttpHeaders,
  watch: ReadWatch,
  isPresent: (name: string) => boolean,
): IncomingHttpHeaders {
  const read = (name: string | symbol): void => {
    if (typeof name === 'string') watch.read(name)
  }
  return new Proxy(headers, {
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
}

function watchedList(list: string[], watch: ReadWatch, isPresent: (name: string) => boolean): string[] {
  return new Proxy(list, {
    get(target, name) {
      if (typeof name === 'string' && /^\d/.test(name)) watch.readAll(isPresent)
      return Reflect.get(target, name)
    },
  })
}

/** What libraries make of credentials before a handler sees the request. */
const DERIVED = ['cookies', 'signedCookies', 'session', 'user', 'auth'] as const

/** Watched requests, and what watches them. */
const watches = new WeakMap<object, ReadWatch>()

/** Prototypes of requests, each with the one that watches. Requests of one application share their prototype. */
const watchedPrototypes = new WeakMap<object, object>()

/** Reports reads of the properties that libraries make of credentials, whether the request has them or not. */
export function watchDerived(request: object, watch: ReadWatch): void {
  const isWatched = watches.has(request)
  watches.set(request, watch)
  if (isWatched) return
  for (const name of DERIVED) {
    const own = Object.getOwnPropertyDescriptor(request, name)
    if (own !== undefined && own.configurable !== false) watchOwn(request, name, own)
  }
  const prototype: object = Object.getPrototypeOf(request) as object
  let watched = watchedPrototypes.get(prototype)
  if (watched === undefined) watchedPrototypes.set(prototype, (watched = watchedPrototype(prototype)))
  Object.setPrototypeOf(request, watched)
}

function watchOwn(request: object, name: string, own: PropertyDescriptor): void {
  let { value } = own as { value: unknown }
  Object.defineProperty(request, name, {
    configurable: true,
    enumerable: own.enumerable ?? false,
    get() {
      watches.get(request)?.readProperty(name)
      return own.get === undefined ? value : (own.get.call(request) as unknown)
    },
    set(next: unknown) {
      if (own.set === undefined) value = next
      else own.set.call(request, next)
    },
  })
}

function watchedPrototype(parent: object): object {
  const watched: object = Object.create(parent) as object
  for (const name of DERIVED) {
    Object.defineProperty(watched, name, {
      configurable: true,
      enumerable: false,
      get(this: object) {
        watches.get(this)?.readProperty(name)
        return Reflect.get(parent, name, this)
      },
      set(this: object, value: unknown) {
        if (Reflect.has(parent, name)) Reflect.set(parent, name, value, this)
        else watchOwn(this, name, { value, enumerable: true })
      },
    })
  }
  return watched
}
