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
