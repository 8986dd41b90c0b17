import { slotOf, SLOTS } from '../../connection/slot.js'
import type { Line } from './reader.js'

export interface ScanStep {
  /** Where the next step begins; `'0'` at the end. */
  readonly cursor: string
  readonly keys: readonly string[]
}

/**
 * SCAN over the keys of all masters, one step of one of them at a time. A cursor is `<master>.<its own cursor>`, where
 * masters are known by a slot that they had at the beginning: after a failover it leads to the successor.
 */
export class Scan {
  readonly #line: Line
  #slots: readonly number[] = []

  constructor(line: Line) {
    this.#line = line
  }

  async step(cursor: string, pattern: string, count: number): Promise<ScanStep> {
    if (this.#line.topology !== 'cluster') return this.#scan(cursor, pattern, count, undefined)
    if (cursor === '0') this.#slots = await this.#mastersBySlot()
    const [master = '0', own = '0'] = (cursor === '0' ? `${this.#slots[0]}.0` : cursor).split('.')
    const slot = Number(master)
    const step = await this.#scan(own, pattern, count, keyInSlot(slot))
    if (step.cursor !== '0') return { ...step, cursor: `${slot}.${step.cursor}` }
    const next = this.#slots.find((other) => other > slot)
    return { ...step, cursor: next === undefined ? '0' : `${next}.0` }
  }

  async #scan(cursor: string, pattern: string, count: number, key: string | undefined): Promise<ScanStep> {
    const reply = await this.#line.execute(['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(count)], key)
    const [next, found] = reply as unknown as [Buffer, Buffer[]]
    return { cursor: next.toString('latin1'), keys: found.map((name) => name.toString('latin1')) }
  }

  /** The lowest slot of each master, in order. */
  async #mastersBySlot(): Promise<number[]> {
    const ranges = (await this.#line.execute(['CLUSTER', 'SLOTS'], undefined)) as unknown as SlotRange[]
    const lowest = new Map<string, number>()
    for (const [start, , [, , id]] of ranges) {
      const master = id.toString('latin1')
      lowest.set(master, Math.min(lowest.get(master) ?? SLOTS, start))
    }
    return [...lowest.values()].toSorted((a, b) => a - b)
  }
}

type SlotRange = readonly [start: number, end: number, master: readonly [ip: Buffer, port: number, id: Buffer]]

/** Some key that a cluster keeps in this slot: it takes about as many tries as there are slots. */
function keyInSlot(slot: number): string {
  let tries = 0
  while (slotOf(tries.toString(36)) !== slot) tries += 1
  return tries.toString(36)
}
