import { html, render, useEffect, useRef, useState } from './htm-preact.js'
import { ask } from './api.js'
import { short } from './format.js'
import { Confirm, Problem, Returns, useAnswer } from './parts.js'
import { Entries, Groups, Overview, Routes } from './panels.js'
import { Explain, Health, Limits, Sessions } from './more-panels.js'

const PANELS = {
  overview: ['Overview', Overview],
  routes: ['Routes', Routes],
  entries: ['Entries', Entries],
  groups: ['Groups', Groups],
  explain: ['Explain', Explain],
  limits: ['Rate limits', Limits],
  sessions: ['Sessions', Sessions],
  health: ['Health', Health],
}

const EVENTS_SHOWN = 25

const RECONNECT_MS = 3000

/** What all processes report, as it comes. */
function useLive() {
  const [live, set] = useState({
    ...{ totals: null, processes: null, health: null, events: [], minute: 0 },
    ...{ connected: false, away: null, returns: 0 },
  })
  useEffect(() => {
    let [source, timer] = []
    const connect = () => {
      source = new EventSource('api/live')
      const on = (name, next) =>
        source.addEventListener(name, (event) =>
          set((before) => ({ ...before, ...next(before, JSON.parse(event.data)) })),
        )
      source.addEventListener('open', () => set((before) => ({ ...before, connected: true })))
      source.addEventListener('error', () => {
        set((before) => ({ ...before, connected: false }))
        // A browser gives up at the first answer of a proxy or of a server that is closing.
        if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, RECONNECT_MS)
      })
      on('health', (_, health) => ({ health }))
      on('away', (_, { message }) => ({ away: message }))
      on('state', stateAfter)
    }
    connect()
    return () => {
      clearTimeout(timer)
      source.close()
    }
  }, [])
  return live
}

function stateAfter(before, { at, totals, processes, events }) {
  const news = events.filter((event) => event.at > (before.newest ?? 0))
  return {
    ...{ at, totals, processes, away: null, connected: true },
    returns: before.away === null ? before.returns : before.returns + 1,
    minute: Math.floor(at / 60_000),
    newest: Math.max(before.newest ?? 0, ...events.map((event) => event.at)),
    events: [...news.toReversed(), ...before.events].slice(0, EVENTS_SHOWN),
  }
}

/** The address behind the hash: panel and query. */
function useAddress() {
  const read = () => {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?')
    return { panel: path in PANELS ? path : 'overview', query: new URLSearchParams(query) }
  }
  const [address, set] = useState(read)
  useEffect(() => {
    const changed = () => set(read())
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return address
}

function go(panel, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== '')
  location.hash = `#/${panel}${given.length === 0 ? '' : `?${new URLSearchParams(given)}`}`
}

function Page() {
  const live = useLive()
  const { panel, query } = useAddress()
  const about = useAnswer(() => ask('about'), 'about')
  const [question, askFirst] = useState(null)
  const [toast, say] = useState('')
  const main = useRef(null)
  const [title, Panel] = PANELS[panel]
  useEffect(() => {
    document.title = `${title} · redwell`
    main.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
  }, [panel])
  useEffect(() => {
    if (toast === '') return
    const timer = setTimeout(() => say(''), 6000)
    return () => clearTimeout(timer)
  }, [toast])
  /** Asks, changes, and says how it went. */
  const act = ({ text, action, run, done }) =>
    askFirst({
      ...{ text, action },
      run: () =>
        run().then(
          (result) => {
            say(
              result.confirmed === false
                ? 'Redis did not confirm it; it is queued and tried again.'
                : result.found === false
                  ? `${action}: nothing was stored there.`
                  : `${action}: done.`,
            )
            done()
          },
          (error) => say(short(error.message)),
        ),
    })
  return html`<a class="skip" href="#page" onClick=${(event) => (event.preventDefault(), main.current.focus())}
      >Skip to content</a
    >
    <${Header} live=${live} panel=${panel} about=${about.value} />
    <main ref=${main} tabindex="-1">
      <h1>${title}</h1>
      <${Problem} text=${about.problem} />
      ${live.away !== null && html`<p class="note problem" role="alert">Redis does not answer: ${short(live.away)} The numbers below are the last known.</p>`}
      ${about.value !== null && !about.value.mayChange && html`<p class="note">You may look, and not change.</p>`}
      <${Returns.Provider} value=${live.returns}>
        ${about.value !== null && html`<${Panel} ...${{ live, query, go, act, about: about.value }} />`}
      <//>
    </main>
    <${Confirm} question=${question} onClose=${() => askFirst(null)} />
    <div class="toast" role="status">${toast}</div>`
}

function Header({ live, panel, about }) {
  const names = Object.keys(PANELS).filter(
    (name) => name !== 'sessions' || about?.sessions !== false || panel === 'sessions',
  )
  const isLive = live.connected && live.away === null
  return html`<header>
    <strong>redwell</strong>
    <nav aria-label="Panels">
      ${names.map((name) => html`<a href=${`#/${name}`} aria-current=${name === panel ? 'page' : undefined}>${PANELS[name][0]}</a>`)}
    </nav>
    <span class=${`live ${isLive ? '' : 'off'}`} role="status">${statusOf(live, about)}</span>
  </header>`
}

function statusOf({ connected, away }, about) {
  const prefix = about === null ? '' : `prefix ${about.prefix}, `
  if (!connected) return `${prefix}not connected`
  return away === null ? `${prefix}live` : `${prefix}Redis is away`
}

render(html`<${Page} />`, document.getElementById('page'))
