/** Where redwell reports changes of state. `console` and Fastify's, pino's and Nest's loggers fit. */
export interface Logger {
  /** A change of state for the better, such as a connection that is back. */
  info(message: string): void
  /** Something that works and should be looked at. */
  warn(message: string): void
  /** Something that was lost. */
  error(message: string): void
}

/** Writes warnings and errors to the console, and nothing else. */
export const consoleLogger: Logger = {
  info: () => {},
  warn: (message) => {
    console.warn(message)
  },
  error: (message) => {
    console.error(message)
  },
}

/** Writes nothing. */
export const silentLogger: Logger = { info: () => {}, warn: () => {}, error: () => {} }
