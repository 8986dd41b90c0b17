import type { Committed } from './report.js'

/** What the README shows: rows of the results, and how they are called there. */
const GROUPS = [
  {
    title: 'Hit from memory, against sending a prebuilt buffer',
    rows: [
      ['B1', /^hit from memory, 2 KB, against/, 'Fastify'],
      ['B1-hono', /2 KB, against a prebuilt buffer$/, 'Hono'],
      ['B1-express', /2 KB, against a prebuilt buffer$/, 'Express'],
      ['B1-nestfastify', /[^d]$/, 'NestJS'],
    ],
  },
  {
    title: 'Hit from Redis, against GET and send by hand',
    rows: [
      ['B2', /by hand$/, 'Fastify'],
      ['B2-hono', /by hand$/, 'Hono'],
      ['B2-express', /by hand$/, 'Express'],
      ['B2-nestfastify', /by hand$/, 'NestJS'],
    ],
  },
  { title: 'Against other caches', rows: [['B19', /^/, '']] },
] as const

const [WIDTH, LEFT, BAR, LINE, MOST] = [760, 330, 360, 24, 3]

interface Bar {
  readonly label: string
  readonly value: number
}

/** The CPU ratios of the results as bars; the line is the baseline. Readable in light and dark. */
export function chart(committed: readonly Committed[]): string {
  const groups = GROUPS.map(({ title, rows }) => ({ title, bars: rows.flatMap((row) => barsOf(committed, row)) }))
  const lines: string[] = []
  let y = 20
  for (const { title, bars } of groups) {
    if (bars.length === 0) continue
    lines.push(`<text class="title" x="0" y="${y}">${escape(title)}</text>`)
    for (const { label, value } of bars) {
      y += LINE
      const width = Math.round((Math.min(value, MOST) / MOST) * BAR)
      lines.push(
        `<text x="${LEFT - 10}" y="${y}" text-anchor="end">${escape(label)}</text>`,
        `<rect x="${LEFT}" y="${y - 13}" width="${width}" height="16" rx="2"/>`,
        `<text x="${LEFT + width + 8}" y="${y}">${value.toFixed(2)}</text>`,
      )
    }
    const [top, bottom] = [y - LINE * bars.length + 6, y + 8]
    const one = LEFT + Math.round(BAR / MOST)
    lines.push(`<line x1="${one}" x2="${one}" y1="${top}" y2="${bottom}"/>`)
    y += LINE + 18
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-labelledby="title">
<title id="title">CPU of a request: the baseline's over redwell's. Longer is better; the line is the baseline.</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
rect { fill: #c6302b }
line { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } line { stroke: #9198a1 } }
</style>
${lines.join('\n')}
<text x="0" y="${y}">CPU of a request, the baseline's over redwell's. Longer is better; the line is the baseline.</text>
</svg>
`
}

function barsOf(committed: readonly Committed[], [id, pattern, label]: readonly [string, RegExp, string]): Bar[] {
  const found = committed.filter((row) => (id === 'B19' ? row.id.startsWith(id) : row.id === id) && row.cpu)
  const bars = found.filter(({ what }) => pattern.test(what) && !what.includes('requests a second'))
  return bars.map(({ what, cpu }) => ({ label: label === '' ? what : label, value: cpu?.median ?? 0 }))
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
