/** Says each thing once. */
export class Warnings {
  readonly #said = new Set<string>()
  readonly #say: (message: string) => void

  constructor(say: (message: string) => void = emit) {
    this.#say = say
  }

  once(message: string, error?: unknown): void {
    if (this.#said.has(message)) return
    this.#said.add(message)
    this.#say(error === undefined ? message : `${message} ${reasonOf(error)}`)
  }
}

/** What was thrown, in words. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : typeof error
}

function emit(message: string): void {
  process.emitWarning(message, { code: 'REDWELL_OTEL' })
}
