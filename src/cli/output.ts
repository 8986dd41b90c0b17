import { randomBytes } from 'node:crypto'
import { styleText } from 'node:util'
import type { Redis } from '../create-redis.js'
import { EXIT } from './exit.js'

type Style = Parameters<typeof styleText>[0]

/** Text in a style where standard output is a terminal that has colours, and plain elsewhere. */
export function paint(style: Style, text: string): string {
  const escape = `\u001b${OWN}`
  const [before = '', after = ''] = styleText(style, MARK, { stream: process.stdout }).split(MARK)
  return before.replaceAll('\u001b', escape) + text + after.replaceAll('\u001b', escape)
}

/** Follows Escape in the sequences of `paint` until they are printed; no stored text knows it. */
const OWN = randomBytes(12).toString('hex')

const MARK = '.'

/** Characters by which text of others could move the cursor, erase, hide or turn what a terminal shows. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Text with such characters written out, as JSON writes them; lines, tabs and the sequences of `paint` stay. */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN, (one, at: number) => {
    if (one === '\n' || one === '\t' || (one === '\u001b' && text.startsWith(OWN, at + 1))) return one
    return one.split('').map(escaped).join('')
  })
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** On one line, however many the text has. */
export function oneLine(text: string): string {
  return visible(text)
    .replaceAll('\n', String.raw`\n`)
    .replaceAll('\t', String.raw`\t`)
}

export function print(text: string): void {
  process.stdout.write(`${visible(text).replaceAll(`\u001b${OWN}`, '\u001b')}\n`)
}

/** Says on standard error what a result lacks, and returns the exit code for it. */
export function incomplete(away: readonly string[], what = 'what they hold'): number {
  if (away.length === 0) return EXIT.ok
  process.stderr.write(
    `Incomplete: ${oneLine(away.join(', '))} not reachable; ${what} is missing. See: redwell doctor\n`,
  )
  return EXIT.no
}

/** One JSON document, indented. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2))
}

/** A cell: text, and how it looks. */
export type Cell = string | { readonly text: string; readonly style: Style }

const GAP = '  '

/** Heads of first columns that one copies from, as an argument of another command. */
const COPIED = new Set(['KEY', 'GROUP', 'SESSION'])

/** Heads of columns whose end says as much as their beginning. */
const WHOLE = new Set(['USED', 'NOTHING OLDER THAN', 'LAST SOFT EVICTION', 'CREATED', 'LAST SEEN', 'ENDS'])

/** A column is cut to no less. */
const CUT_MIN = 8

/**
 * Columns side by side. On a terminal the widest names are cut to fit, but none that one copies from: such a line is
 * broken by the terminal. Elsewhere nothing is cut.
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [head, ...rows.map((row) => row.map(textOf))]
  const widths = head.map((_, column) => Math.max(...texts.map((row) => row[column]?.length ?? 0)))
  const width = process.stdout.isTTY ? process.stdout.columns : Infinity
  let excess = widths.reduce((sum, one) => sum + one, GAP.length * (widths.length - 1)) - width
  const isCuttable = (column: number): boolean =>
    !WHOLE.has(head[column] ?? '') && !(column === 0 && COPIED.has(head[0] ?? ''))
  const names = [...widths.keys()].filter(isCuttable)
  for (const column of names.toSorted((one, other) => (widths[other] ?? 0) - (widths[one] ?? 0))) {
    const cut = Math.max(0, Math.min(excess, (widths[column] ?? 0) - CUT_MIN))
    widths[column] = (widths[column] ?? 0) - cut
    excess -= cut
  }
  const line = (cells: readonly Cell[]): string =>
    cells
      .map((cell, column) => cellOf(cell, widths[column] ?? 0, column === head.length - 1))
      .join(GAP)
      .trimEnd()
  return [line(head.map((text) => ({ text, style: 'dim' }))), ...rows.map(line)].join('\n')
}

/** What a cell shows, on one line. */
export function textOf(cell: Cell): string {
  return oneLine(typeof cell === 'string' ? cell : cell.text)
}

function cellOf(cell: Cell, width: number, isLast: boolean): string {
  const text = textOf(cell)
  const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text
  const painted = typeof cell === 'string' ? cut : paint(cell.style, cut)
  return isLast ? painted : painted + ' '.repeat(width - cut.length)
}

/** Name and value, one a line. */
export function fields(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${paint('dim', oneLine(name).padEnd(width))}${GAP}${oneLine(value)}`).join('\n')
}

const BAR_WIDTH = 24

/** A line on standard error that is rewritten, on a terminal only. */
export class Progress {
  readonly #out = process.stderr
  #shown = false

  /** Keys of all servers, for a bar; 0 where none is shown, or where the user may not ask. */
  async totalOf({ connection }: Redis): Promise<number> {
    if (!this.#out.isTTY) return 0
    const servers = connection?.servers ?? []
    const counts = await Promise.all(servers.map((server) => server.inspect(['DBSIZE']).catch(() => 0)))
    return counts.reduce<number>((sum, count) => sum + Number(count), 0)
  }

  /** `total` 0: not known. */
  show(label: string, done = 0, total = 0): void {
    if (!this.#out.isTTY) return
    const part = total === 0 ? 0 : Math.min(1, done / total)
    const full = Math.round(part * BAR_WIDTH)
    const bar = total === 0 ? '' : ` [${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${Math.floor(100 * part)} %`
    this.#out.write(`\r\u001b[K${label}${bar}`)
    this.#shown = true
  }

  end(): void {
    if (this.#shown) this.#out.write('\r\u001b[K')
    this.#shown = false
  }
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
]

/** `3m 20s`, `450 ms`; `-` for none. The two largest units. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-'
  const sign = ms < 0 ? '-' : ''
  let rest = Math.abs(ms)
  if (rest < 1000) return `${sign}${rest < 10 && rest % 1 !== 0 ? rest.toFixed(2) : Math.round(rest)} ms`
  const parts = UNITS.flatMap(([unit, size]) => {
    const count = Math.floor(rest / size)
    rest -= count * size
    return count === 0 ? [] : [`${count}${unit}`]
  })
  return sign + parts.slice(0, 2).join(' ')
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`
  return `${(count / 1024 / 1024).toFixed(1)} MiB`
}

export function percent(share: number | null): string {
  return share === null ? '-' : `${(100 * share).toFixed(1)} %`
}

export function time(at: number | null): string {
  return at === null
    ? '-'
    : new Date(at)
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z$/, 'Z')
}
