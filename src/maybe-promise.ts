/** A value now or later. A synchronous store answers without a turn of the event loop. */
export type MaybePromise<T> = T | Promise<T>

/** Any thenable counts: option functions may return another library's promise. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> & Promise<T> {
  return typeof (value as PromiseLike<T> | undefined | null)?.then === 'function'
}

/** Calls `next` with the value, at once where it is there already. */
export function chain<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(next) : next(value)
}

/** Runs a step that may be asynchronous, and passes its result or its error on. */
export function settle<T>(
  step: () => MaybePromise<T>,
  act: (value: T) => void,
  failed: (error: unknown) => void,
): void {
  const guarded = (value: T): void => {
    try {
      act(value)
    } catch (error) {
      failed(error)
    }
  }
  let value: MaybePromise<T>
  try {
    value = step()
  } catch (error) {
    return failed(error)
  }
  if (isPromise(value)) value.then(guarded, failed)
  else guarded(value)
}
