import { createContext, html, useContext, useEffect, useRef, useState } from './htm-preact.js'
import { clock, count, percent, short, sumOf, visible } from './format.js'

/** Characters of a cell from which on it may break within a word. */
const LONG = 24

/**
 * A table with the roles of one, which a phone shows as cards. Columns: name, cell of a row, `number`, `row` for the cell
 * that names the row.
 */
export function Grid({ label, columns, rows, empty = 'Nothing.' }) {
  if (rows.length === 0) return html`<p class="dim">${empty}</p>`
  const cell = (column, row) => {
    const shown = column.cell(row)
    const isNone = shown === '' || shown === undefined || shown === null
    return html`<td
      role="cell"
      data-label=${column.name}
      class=${`${column.number ? 'number' : ''} ${isNone ? 'none' : ''} ${String(shown).length > LONG ? 'long' : ''}`}
    >
      ${typeof shown === 'string' ? short(shown) : shown}
    </td>`
  }
  return html`<table class="grid" role="table" aria-label=${label}>
    <thead role="rowgroup">
      <tr role="row">
        ${columns.map(
          (column) =>
            html`<th role="columnheader" scope="col" class=${column.number ? 'number' : ''}>${column.name}</th>`,
        )}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        (row) =>
          html`<tr role="row">
            ${columns.map((column) => cell(column, row))}
          </tr>`,
      )}
    </tbody>
  </table>`
}

/** A text whose parts between backquotes are code. */
export function Words({ text }) {
  return visible(text)
    .split('`')
    .map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))
}

/** Reasons in words, with what to do about each; the most frequent first. */
export function Reasons({ title, counts, words }) {
  const rows = Object.entries(counts).toSorted(([, one], [, other]) => other - one)
  if (rows.length === 0) return null
  return html`<section class="card">
    <h2>${title}</h2>
    <${Grid}
      label=${title}
      rows=${rows}
      columns=${[
        { name: 'Reason', cell: ([reason]) => html`<code>${reason}</code>` },
        { name: 'Count', number: true, cell: ([, number]) => count(number) },
        { name: 'Meaning', cell: ([reason]) => wordsOf(words[reason]?.[0]) },
        { name: 'What to do', cell: ([reason]) => wordsOf(words[reason]?.[1]) },
      ]}
    />
  </section>`
}

function wordsOf(text = '') {
  return text === '' ? '' : html`<${Words} text=${text} />`
}

/** The least that a chart shows. */
const CHART_LEAST_MS = 3_600_000

/** A history as it was last read, and why there is no newer one. */
export function History({ answer: { value, problem }, title }) {
  return html`<${Problem} text=${problem} />
    ${value === null && problem === null && html`<p class="dim">Reading the history …</p>`}
    ${value !== null && html`<${Chart} history=${value} title=${title} />`}`
}

/** Hit ratio as a line and lookups as bars, with the same numbers as a table. */
function Chart({ history, title }) {
  const { to, stepMs, points } = history
  if (points.length === 0)
    return html`<p class="dim">No lookups in the last 24 hours. Processes add theirs once a minute.</p>`
  // A young history fills the width.
  const from = Math.max(history.from, Math.min(points[0].startAt, to - CHART_LEAST_MS))
  const x = (at) => ((at - from) / (to - from)) * 1000
  const most = Math.max(...points.map((point) => sumOf(countsOf(point))))
  const ratio = ({ hits, stale, misses }) =>
    hits + stale + misses === 0 ? null : (hits + stale) / (hits + stale + misses)
  const known = points.filter((point) => ratio(point) !== null)
  const height = (point) => (100 - 100 * ratio(point)).toFixed(1)
  const middle = ({ startAt }) => x(Math.min(startAt + stepMs / 2, to)).toFixed(1)
  const line = known.map((point) => `${middle(point)},${height(point)}`)
  // One point is no line.
  if (known.length === 1) line.unshift(`${x(Math.max(known[0].startAt, from)).toFixed(1)},${height(known[0])}`)
  const bar = (point) => {
    const tall = (sumOf(countsOf(point)) / most) * 40
    return html`<rect
      class="bar"
      x=${x(point.startAt)}
      y=${100 - tall}
      width=${(stepMs / (to - from)) * 900}
      height=${tall}
    />`
  }
  return html`<figure>
    <div class="plot">
      <div class="axis" aria-hidden="true"><span>100 %</span><span>50 %</span><span>0 %</span></div>
      <svg class="chart" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=${title}>
        ${[0, 50, 100].map((y) => html`<line class="rule" x1="0" x2="1000" y1=${y} y2=${y} />`)} ${points.map(bar)}
        <polyline class="line" points=${line.join(' ')} />
      </svg>
      <div class="scale">
        ${[0, 0.25, 0.5, 0.75, 1].map((part) => html`<span>${clock(from + part * (to - from))}</span>`)}
      </div>
    </div>
    <figcaption>Line: share from the cache. Bars: lookups, at most ${count(most)} in five minutes.</figcaption>
    <details>
      <summary>The same as a table</summary>
      <${Grid}
        label=${title}
        rows=${points.toReversed()}
        columns=${[
          { name: 'From', cell: ({ startAt }) => clock(startAt) },
          { name: 'From cache', number: true, cell: (point) => percent(ratio(point)) },
          ...['hits', 'stale', 'misses', 'bypasses'].map((name) => ({
            name,
            number: true,
            cell: (point) => count(point[name]),
          })),
        ]}
      />
    </details>
  </figure>`
}

function countsOf({ hits, stale, misses, bypasses }) {
  return { hits, stale, misses, bypasses }
}

/** How often Redis has come back: what failed meanwhile is asked once more. */
export const Returns = createContext(0)

/** Runs `again` when Redis has come back, where there is a problem. */
function useReturn(problem, again) {
  const returns = useContext(Returns)
  useEffect(() => {
    if (problem !== null) again()
  }, [returns])
}

/**
 * What asking returns; asks again when `key` or `time` changes. `again` asks once more. A problem leaves the last answer
 * to the same question.
 */
export function useAnswer(askIt, key, time) {
  const [answer, set] = useState({ value: null, problem: null, key, busy: true })
  const [turn, again] = useState(0)
  useEffect(() => {
    let live = true
    set((last) => ({ ...last, busy: true }))
    askIt().then(
      (value) => live && set({ value, problem: null, key, busy: false }),
      ({ message }) =>
        live && set((last) => ({ value: last.key === key ? last.value : null, problem: message, key, busy: false })),
    )
    return () => {
      live = false
    }
  }, [key, time, turn])
  const once = () => again((before) => before + 1)
  useReturn(answer.problem, once)
  return { ...answer, again: once }
}

/** A problem that keeps a part of the page from being shown. */
export function Problem({ text }) {
  return text === null ? null : html`<p class="note problem" role="alert">${short(text)}</p>`
}

/** A dialog that asks before something is destroyed: `{ text, action, run }`. Escape and Cancel, which has the focus, close it. */
export function Confirm({ question, onClose }) {
  const dialog = useRef(null)
  useEffect(() => {
    if (question !== null && !dialog.current.open) dialog.current.showModal()
    if (question === null && dialog.current.open) dialog.current.close()
  }, [question])
  const act = () => {
    onClose()
    question.run()
  }
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="question">
    <h2 id="question">${question === null ? '' : short(question.text)}</h2>
    <div class="buttons">
      <button type="button" class="main" onClick=${act}>${question?.action ?? ''}</button>
      <button type="button" autofocus onClick=${onClose}>Cancel</button>
    </div>
  </dialog>`
}

/** In the place of rows that could not be asked for. */
export const UNKNOWN = 'Not known.'

/** What a list without rows says. */
export function emptyOf({ busy, problem }, none) {
  return busy ? 'Looking …' : problem === null ? none : UNKNOWN
}

/** Items that a button for more adds, at least: a search through many keys goes on until it has so many, or is stopped. */
const STEP = 50

/** A list that is read page by page: what was found so far, and a button for more. Rows are told apart by `idOf`. */
export function useList(askPage, search, idOf) {
  const [state, set] = useState({ items: [], cursor: undefined, examined: 0, away: [], problem: null, busy: true })
  const current = useRef(0)
  const read = async (before) => {
    const id = (current.current += 1)
    // A list that begins anew shows its old rows until there are others: what has the focus stays.
    set((shown) => ({ ...shown, busy: true }))
    try {
      let next = before
      do {
        const page = await askPage(next.cursor)
        if (current.current !== id) return
        // SCAN may return a key twice.
        const known = new Set(next.items.map(idOf))
        next = {
          ...next,
          items: [...next.items, ...page.items.filter((item) => !known.has(idOf(item)))],
          cursor: page.cursor,
          examined: next.examined + page.examined,
          away: [...new Set([...next.away, ...page.away])],
          problem: null,
        }
        set({ ...next, busy: true })
      } while (next.items.length < before.items.length + STEP && next.cursor !== null)
      set({ ...next, busy: false })
    } catch (error) {
      if (current.current === id) set((shown) => ({ ...shown, problem: error.message, busy: false }))
    }
  }
  const restart = () => void read({ items: [], cursor: undefined, examined: 0, away: [] })
  const stop = () => {
    current.current += 1
    set((now) => ({ ...now, busy: false }))
  }
  useEffect(() => {
    restart()
    return () => {
      current.current += 1
    }
  }, [search])
  useReturn(state.problem, restart)
  return { ...state, restart, stop, more: () => void read(state) }
}

/** `what`: the word for one item, and for several. SCAN says how many keys a step looks at only roughly. */
export function More({ list, what: [one, several] }) {
  const found = `${count(list.items.length)} ${list.items.length === 1 ? one : several}`
  const looked = `${found}, about ${count(list.examined)} keys looked at`
  return html`<div class="buttons">
    ${list.busy && list.examined > 0 && html`<button type="button" onClick=${list.stop}>Stop</button>`}
    ${!list.busy && list.cursor !== null && list.cursor !== undefined && html`<button type="button" onClick=${list.more}>More</button>`}
    <span class="dim" role="status"
      >${list.busy ? `Looking: ${looked} …` : list.cursor === null && list.away.length === 0 ? `${found}: all` : looked}</span
    >
    ${
      list.away.length > 0 &&
      html`<span class="problem" role="alert"
        >Incomplete: ${visible(list.away.join(', '))} not reachable, so what they hold is missing.</span
      >`
    }
  </div>`
}

/** `defaultValue`, and a new field for a new value: `value` would undo at each live report what was typed meanwhile. */
export function Search({ label, value, onSearch, placeholder }) {
  const submit = (event) => {
    event.preventDefault()
    onSearch(new FormData(event.target).get('search'))
  }
  return html`<form onSubmit=${submit} role="search">
    <label class="wide"
      >${label}<input name="search" type="search" key=${value} defaultValue=${value} placeholder=${placeholder}
    /></label>
    <button class="main">Search</button>
  </form>`
}
