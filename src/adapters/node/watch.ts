import type { IncomingMessage } from 'node:http'
import type { RequestFields } from '../../route/request.js'

/** Lets the handler see other values of some request fields than the client sent, by name and in the raw list alike. */
export function applyRequestFields(message: IncomingMessage, fields: RequestFields): void {
  if (fields.size === 0) return
  const { headers } = message
  const rawHeaders = message.rawHeaders.filter(
    (_, index) => !fields.has((message.rawHeaders[index - (index % 2)] as string).toLowerCase()),
  )
  for (const [name, value] of fields) {
    if (value === undefined) delete headers[name]
    else {
      headers[name] = value
      rawHeaders.push(name, value)
    }
  }
  message.rawHeaders = rawHeaders
}

/** Tells when one of these fields is read, whether the request has it or not. */
export function watchFields(
  headers: Record<string, unknown>,
  names: readonly string[],
  read: (name: string) => void,
): void {
  for (const name of names) {
    const present = Object.hasOwn(headers, name)
    let value = headers[name]
    Object.defineProperty(headers, name, {
      configurable: true,
      enumerable: present,
      get() {
        read(name)
        return value
      },
      set(next: unknown) {
        value = next
      },
    })
  }
}

/** What libraries make of credentials before a handler sees the request. */
const DERIVED = ['cookies', 'signedCookies', 'session', 'user', 'auth'] as const

/**
 * Tells when a handler looks at who is asking through what was made of the credentials, where these are watched.
 * `except`: properties that the framework's own plugins read behind the handler.
 */
export function watchDerived(
  request: object,
  watched: readonly string[],
  read: (name: string) => void,
  except: readonly string[] = [],
): void {
  if (!watched.includes('cookie') && !watched.includes('authorization')) return
  for (const name of DERIVED) if (!except.includes(name)) watchProperty(request, name, () => read(`request.${name}`))
}

/** Tells when a property is read, whether the object has it or not, of its own or by its class. */
function watchProperty(target: object, name: string, read: () => void): void {
  const own = Object.getOwnPropertyDescriptor(target, name)
  if (own?.configurable === false) return
  const parent: object = Object.getPrototypeOf(target) as object
  let set = own !== undefined && 'value' in own
  let value: unknown = own?.value
  Object.defineProperty(target, name, {
    configurable: true,
    enumerable: own?.enumerable ?? false,
    get() {
      read()
      if (set) return value
      return own?.get === undefined ? Reflect.get(parent, name, target) : (own.get.call(target) as unknown)
    },
    set(next: unknown) {
      set = true
      value = next
    },
  })
}
