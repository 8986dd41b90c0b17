import type { Algorithm, Section, Sections } from './window.js'

/** What is counted for one identity in one window. */
export interface WindowState {
  readonly windowMs: number
  /** Units used; undefined for a token bucket, whose level depends on the limit. */
  readonly used: number | undefined
  /** Milliseconds until everything is given back. */
  readonly resetMs: number
}

/** What is counted for one identity. */
export interface LimitState {
  readonly algorithm: Algorithm
  /** Milliseconds since the epoch; in the past or 0: not banned. */
  readonly bannedUntil: number
  /** Refusals on the way to a ban. */
  readonly refusals: number
  readonly windows: readonly WindowState[]
}

/** By the format byte of lua/limit-1.lua. */
const ALGORITHMS: Readonly<Record<number, Algorithm>> = { 1: 'sliding-window', 2: 'fixed-window', 3: 'token-bucket' }

/** The state that lua/limit-1.lua keeps, as an operator reads it; undefined where the bytes are none. `now`: Redis' clock. */
export function decodeLimitState(bytes: Buffer, now: number): LimitState | undefined {
  const algorithm = ALGORITHMS[bytes[0] ?? 0]
  if (algorithm === undefined || bytes.length < 2) return undefined
  try {
    const banned = bytes[1] === 1
    const sections = readSections(algorithm, bytes, banned ? 18 : 2)
    return {
      algorithm,
      bannedUntil: banned ? bytes.readUIntLE(2, 6) : 0,
      refusals: banned ? bytes.readUInt32LE(8) : 0,
      windows: windowsOf(sections, now),
    }
  } catch (error) {
    // Cut short: the bytes are no state of ours.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function readSections(algorithm: Algorithm, bytes: Buffer, start: number): Sections {
  const sections: Sections = new Map()
  let at = start
  while (at < bytes.length) {
    const windowMs = bytes.readUInt32LE(at)
    const [section, end] = readSection(algorithm, bytes, at + 4)
    sections.set(windowMs, section)
    at = end
  }
  return sections
}

function readSection(kind: Algorithm, bytes: Buffer, at: number): readonly [section: Section, end: number] {
  if (kind === 'fixed-window')
    return [{ kind, start: bytes.readUIntLE(at, 6), units: bytes.readUInt32LE(at + 6) }, at + 10]
  if (kind === 'token-bucket') return [{ kind, at: bytes.readDoubleLE(at), debt: bytes.readDoubleLE(at + 8) }, at + 16]
  const count = bytes.readUInt8(at)
  const oldest = bytes.readUIntLE(at + 1, 6)
  // The sum of all units lies between.
  const first = at + 11
  const records = Array.from({ length: count }, (_, index) => {
    const record = first + 8 * index
    return [oldest + bytes.readUInt32LE(record), bytes.readUInt32LE(record + 4)] as const
  })
  return [{ kind, records }, first + 8 * count]
}

/** What windows say at a time, in ms of the store's clock. */
export function windowsOf(sections: Sections, now: number): readonly WindowState[] {
  return Array.from(sections, ([windowMs, section]) => ({ windowMs, ...levelOf(section, windowMs, now) }))
}

function levelOf(section: Section, windowMs: number, now: number): Omit<WindowState, 'windowMs'> {
  if (section.kind === 'fixed-window') {
    const resetMs = Math.max(0, section.start + windowMs - now)
    return { used: resetMs === 0 ? 0 : section.units, resetMs }
  }
  if (section.kind === 'token-bucket')
    return { used: undefined, resetMs: Math.max(0, Math.ceil((section.at + section.debt) / 1000 - now)) }
  const live = section.records.filter(([at]) => at + windowMs >= now)
  const newest = live.at(-1)?.[0]
  return {
    used: live.reduce((sum, [, units]) => sum + units, 0),
    resetMs: newest === undefined ? 0 : newest + windowMs + 1 - now,
  }
}
