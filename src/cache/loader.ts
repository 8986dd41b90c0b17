import { OptionsError, TimeoutError, UsageError } from '../errors.js'
import { checkValueOptions, type LoadOptions, type ResolvedValueOptions, type ValueOptions } from './options.js'

/** Options that only the loaded value tells. Groups add to those of the call. */
export type StoreOptions = ValueOptions & Pick<LoadOptions, 'negativeTtl'>

/** A value that was there before the loader ran. */
export interface Previous<T> {
  readonly value: T
  readonly ageMs: number
}

/** What any loader is given. */
export interface LoadContext {
  /** Aborted when the caller's signal is, or at the loader's time limit. */
  readonly signal: AbortSignal
  /** Changes how this value is kept: a lifetime that comes with the data, a group that only the data names. */
  readonly store: (options: StoreOptions) => void
  /** The value is given to its caller, and not stored. */
  readonly noStore: () => void
}

/** What the loader of one value is given. `T` is what it gives, `Out` what readers get, where a schema makes a difference. */
export interface LoaderContext<T = unknown, Out = T> extends LoadContext {
  /** The stale value that this load is to replace, where it is still at hand. */
  readonly previous: Previous<Out> | undefined
  /** `return context.unchanged()`: the previous value is still right, and lives for another lifetime. Throws UsageError where there is none. */
  readonly unchanged: () => T
}

export type Loader<T, Out = T> = (context: LoaderContext<T, Out>) => T | Promise<T>

/** What a loader decided about one value. */
export class Decisions {
  options: ResolvedValueOptions
  stored = true
  unchanged = false

  constructor(options: ResolvedValueOptions) {
    this.options = options
  }

  store(options: StoreOptions): void {
    const problems: string[] = []
    const resolved = checkValueOptions(options, this.options, problems)
    if (problems.length > 0) throw new OptionsError('options given by a loader', problems)
    this.options = resolved
  }
}

/** A signal that costs nothing until a loader asks for it: most never do. */
export class LazySignal {
  #controller: AbortController | undefined
  #reason: { readonly value: unknown } | undefined

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason.value)
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#reason ??= { value: reason }
    this.#controller?.abort(reason)
  }
}

/** The context of the loader of one value. */
export function contextOf<T>(
  signal: LazySignal,
  decisions: Decisions,
  previous: Previous<T> | undefined,
): LoaderContext<T> {
  return {
    previous,
    get signal() {
      return signal.signal
    },
    store: (options) => decisions.store(options),
    noStore: () => {
      decisions.stored = false
    },
    unchanged: () => {
      if (previous === undefined)
        throw new UsageError('There is no previous value to keep: look at `context.previous` before `unchanged()`.')
      decisions.unchanged = true
      return previous.value
    },
  }
}

/** How long a loader may run, and who may end it. */
export interface Limits {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** For the message: what was being loaded. */
  readonly what: () => string
}

/**
 * Runs a loader within its limits. At a limit the caller goes on at once, whatever the loader does about its signal;
 * what a loader gives or throws later is dropped.
 */
export async function runWithin<T>(limits: Limits, signal: LazySignal, run: () => T | Promise<T>): Promise<T> {
  const { timeoutMs, signal: caller, what } = limits
  if (timeoutMs === Infinity && caller === undefined) return run()
  caller?.throwIfAborted()
  let stop = (): void => {}
  const stopped = new Promise<never>((_, reject) => {
    const end = (reason: Error): void => {
      signal.abort(reason)
      reject(reason)
    }
    const abort = (): void => end(caller?.reason as Error)
    caller?.addEventListener('abort', abort, { once: true })
    const late = (): void => end(new TimeoutError(`The loader of ${what()} did not end within ${timeoutMs} ms.`))
    const timer = timeoutMs === Infinity ? undefined : setTimeout(late, timeoutMs)
    stop = () => {
      clearTimeout(timer)
      caller?.removeEventListener('abort', abort)
    }
  })
  try {
    return await Promise.race([run(), stopped])
  } finally {
    stop()
  }
}

/** The promise, or `undefined` where it has not settled in time. Leaves no timer behind. */
export function soonEnough<T>(promise: Promise<T>, limitMs: number): Promise<{ readonly value: T } | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), limitMs)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve({ value })
      },
      (error: Error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
