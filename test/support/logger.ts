import type { Logger } from '../../src/logger.js'

export const silentLogger: Logger = { info: () => {}, warn: () => {}, error: () => {} }

/** Keeps what was said, for tests that ask. */
export function recordingLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = []
  const say = (level: string) => (message: string) => void lines.push(`${level}: ${message}`)
  return { lines, info: say('info'), warn: say('warn'), error: say('error') }
}
