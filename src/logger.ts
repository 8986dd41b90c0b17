/** Where redwell reports changes of state. `console` and Fastify's, pino's and Nest's loggers fit. */
export interface Logger {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

/** Says warnings and errors on the console, and nothing else. */
export const consoleLogger: Logger = {
  info: () => {},
  warn: (message) => {
    console.warn(message)
  },
  error: (message) => {
    console.error(message)
  },
}
