import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { PrincipalOf } from '../../route/options.js'
import type { BackgroundRun } from '../../route/request.js'
import { valueAt } from '../../value-at.js'
import { backgroundRuns } from '../background.js'
import type { Presented } from '../exchange.js'
import { RequestProperty } from '../request-property.js'
import { watchPeer } from './peer-watch.js'
import { DERIVED, OF_ADDRESS, type ReadWatch } from './read-watch.js'

/** Properties for which frameworks look at the address too, but only to find out whether they trust a proxy. */
const TRUSTING = ['protocol', 'secure', 'hostname', 'host', 'port', 'subdomains'] as const

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
  if (message.httpVersionMajor < 2) (message as Record<FieldProperty, unknown>)[name] = value
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
