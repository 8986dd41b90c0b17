import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { BackgroundRun } from '../../route/request.js'
import { valueAt } from '../declarations.js'
import { backgroundRuns, type Presented } from '../exchange.js'

/** Reports reads of the request fields that are no part of the key and tell users apart. */
export class ReadWatch {
  readonly #run: Presented
  /** Only what is read for the response counts: not what hooks, sessions and loggers read after the handler. */
  active = true

  constructor(run: Presented) {
    this.#run = run
  }

  /** Whether one of the fields can carry a user's credentials. */
  get watchesCredentials(): boolean {
    return this.#run.watched.includes('cookie') || this.#run.watched.includes('authorization')
  }

  read(name: string): void {
    if (this.active && this.#run.watched.includes(name)) this.#run.noteRead(name)
  }

  /** All fields were enumerated. That is a read even of those that are absent: another request may have them. */
  readAll(isPresent: (name: string) => boolean): void {
    const { watched } = this.#run
    const name = watched.find(isPresent) ?? watched[0]
    if (this.active && name !== undefined) this.#run.noteRead(name)
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
    if (this.active) this.#run.noteRead(`request.${name}`)
  }
}

type Fields = Iterable<readonly [name: string, value: string | string[] | undefined]>

/** What the requests of all frameworks do with the message of `node:http` behind them. */
export abstract class WatchedRequest {
  abstract readonly message: object
  protected watch: ReadWatch | undefined
  /** The fields of the message while its handler sees watched ones. */
  protected unwatched: IncomingHttpHeaders | undefined
  #undo: (() => void) | undefined

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

  /** Shows other values of some fields than the client sent, in both of their forms, and reports reads. */
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
    if (this.watch !== undefined) watchMessage(message, this.watch)
    this.#undo = () => {
      setFieldProperty(message, 'headers', headers)
      setFieldProperty(message, 'rawHeaders', rawHeaders)
      setFields(headers, sent)
    }
  }

  restore(): void {
    this.watching = false
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
 * Puts watched views of its fields on a message. A view is a proxy, since replacing properties of the object itself
 * makes V8 give up its shape, and enumeration has to be seen as well.
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
  // Node makes these from `rawHeaders` when they are asked for, and keeps them.
  if (message.httpVersionMajor < 2) setFieldProperty(message, 'headersDistinct', undefined)
}

/** Watched objects, and what watches them. */
const watches = new WeakMap<object, ReadWatch>()

export function watchOf(object: object): ReadWatch | undefined {
  return watches.get(object)
}

/** Prototypes, each with the one that reports reads. */
const watchedPrototypes = new WeakMap<object, object>()

/** Puts a prototype that reports reads over the one of an object. Objects of one class share it, and so keep their shape. */
export function watchPrototype<T extends object>(object: T, watch: ReadWatch, make: (parent: T) => object): void {
  const isWatched = watches.has(object)
  watches.set(object, watch)
  if (isWatched) return
  const parent = Object.getPrototypeOf(object) as T
  const watched = valueAt(watchedPrototypes, parent, () => make(parent))
  Object.setPrototypeOf(object, watched)
}

/** What libraries make of credentials before a handler sees the request. */
const DERIVED = ['cookies', 'signedCookies', 'session', 'user', 'auth'] as const

/** Reports reads of the properties that libraries make of credentials, whether the request has them or not. */
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
      watches.get(request)?.readProperty(name)
      return own.get === undefined ? value : (own.get.call(request) as unknown)
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
        watches.get(this)?.readProperty(name)
        return Reflect.get(parent, name, this)
      },
      set(this: object, value: unknown): void {
        if (Reflect.has(parent, name)) Reflect.set(parent, name, value, this)
        else watchOwn(this, name, { value, enumerable: true })
      },
    },
  ])
  return Object.create(parent, Object.fromEntries(properties)) as object
}
