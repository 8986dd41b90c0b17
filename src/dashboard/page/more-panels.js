import { html, useState } from './htm-preact.js'
import { ask, change } from './api.js'
import { bytes, count, duration, millis, short, time, visible } from './format.js'
import { Grid, More, Problem, Search, UNKNOWN, Words, emptyOf, useAnswer, useList } from './parts.js'

/** What rate limits have counted. */
export function Limits({ query, go, act, about, live }) {
  const search = query.get('search') ?? ''
  const list = useList(
    (cursor) => ask('limits', { search, cursor, limit: 100 }),
    search,
    ({ key }) => key,
  )
  const limiters = new Map((live.processes ?? []).flatMap(({ limiters: all }) => all.map((one) => [one.scope, one])))
  const reset = ({ key, identity, scope }) =>
    act({
      text: `Forget what is counted for ${identity} by ${scope}?`,
      action: 'Forget',
      run: () => change('reset-limit', { key }),
      done: list.restart,
    })
  const columns = [
    { name: 'Limit', cell: ({ scope }) => scope },
    { name: 'Identity', cell: ({ identity }) => identity },
    { name: 'Used', cell: (row) => row.windows.map((window) => usedOf(window, limiters.get(row.scope))).join('; ') },
    {
      name: 'All back in',
      number: true,
      cell: ({ windows }) => duration(Math.max(0, ...windows.map(({ resetMs }) => resetMs))),
    },
    {
      name: 'Banned for',
      number: true,
      cell: ({ bannedForMs }) => (bannedForMs > 0 ? html`<span class="problem">${duration(bannedForMs)}</span>` : '-'),
    },
  ]
  const button = {
    name: 'Change',
    cell: (row) =>
      html`<button type="button" onClick=${() => reset(row)} aria-label=${short(`Forget ${row.scope} ${row.identity}`)}>
        Forget
      </button>`,
  }
  return html`<${Calls} counted=${Object.entries(live.totals?.rateLimits ?? {})} />
    <${Search}
      label="Limits whose names begin with"
      value=${search}
      onSearch=${(text) => go('limits', { search: text })}
    />
    <${Problem} text=${list.problem} />
    <section class="card">
      <h2>Counted</h2>
      <${Grid}
        label="What is counted"
        rows=${list.items}
        empty=${emptyOf(list, 'Nothing is counted.')}
        columns=${about.mayChange ? [...columns, button] : columns}
      />
      <${More} list=${list} what=${['identity', 'identities']} />
    </section>`
}

function Calls({ counted }) {
  if (counted.length === 0) return null
  return html`<section class="card">
    <h2>Calls</h2>
    <${Grid}
      label="Calls of rate limits"
      rows=${counted}
      columns=${[
        { name: 'Limit', cell: ([scope]) => scope },
        ...['allowed', 'limited', 'blocked', 'local', 'bypass'].map((name) => ({
          name,
          number: true,
          cell: ([, counts]) => count(counts[name] ?? 0),
        })),
      ]}
    />
  </section>`
}

function usedOf({ used, windowMs }, limiter) {
  const rate = limiter?.rates.find((one) => one.windowMs === windowMs)
  const of = rate === undefined ? '' : ` of ${count(rate.limit)}`
  return `${used === undefined || used === null ? 'some' : count(used)}${of} in ${duration(windowMs)}`
}

const SESSION_COLUMNS = [
  { name: 'Session', cell: ({ handle }) => html`<span class="key">${handle}</span>` },
  { name: 'Described as', cell: ({ descriptor }) => descriptor ?? '-' },
  { name: 'Created', cell: ({ createdAt }) => time(createdAt) },
  { name: 'Last seen', cell: ({ lastSeenAt }) => time(lastSeenAt) },
  { name: 'Ends', cell: ({ expiresAt }) => time(expiresAt) },
]

/** The sessions of one subject. */
export function Sessions({ query, go, act, about }) {
  const subject = query.get('subject') ?? ''
  const found = useAnswer(
    () => (subject === '' ? Promise.resolve({ items: [] }) : ask('sessions', { subject })),
    subject,
  )
  const revoke = ({ handle }) =>
    act({
      text: `End this session of ${subject}?`,
      action: 'End it',
      run: () => change('revoke-session', { subject, handle }),
      done: found.again,
    })
  const all = () =>
    act({
      text: `End all sessions of ${subject}?`,
      action: 'End all',
      run: () => change('revoke-sessions', { subject }),
      done: found.again,
    })
  const submit = (event) => {
    event.preventDefault()
    go('sessions', { subject: new FormData(event.target).get('subject') })
  }
  const button = {
    name: 'Change',
    cell: (row) =>
      html`<button type="button" onClick=${() => revoke(row)} aria-label=${`End ${row.handle}`}>End</button>`,
  }
  const items = found.value?.items ?? []
  return html`<form onSubmit=${submit}>
      <label class="wide"
        >Subject: whose sessions, such as a user's id<input
          name="subject"
          key=${subject}
          defaultValue=${subject}
          required
      /></label>
      <button class="main">List</button>
    </form>
    <${Problem} text=${found.problem} />
    ${
      subject !== '' &&
      html`<section class="card">
        <h2>Sessions of ${short(subject)}</h2>
        <${Grid}
          label="Sessions"
          rows=${items}
          empty=${found.problem === null ? 'No sessions.' : UNKNOWN}
          columns=${about.mayChange ? [...SESSION_COLUMNS, button] : SESSION_COLUMNS}
        />
        ${about.mayChange && items.length > 0 && html`<div class="buttons"><button type="button" onClick=${all}>End all …</button></div>`}
      </section>`
    }`
}

/** Redis, the processes, and a look at everything. */
export function Health({ live }) {
  const { health, processes } = live
  const [doctor, setDoctor] = useState({ busy: false, findings: null, problem: null })
  const look = () => {
    setDoctor({ busy: true, findings: null, problem: null })
    ask('doctor').then(
      (found) => setDoctor({ busy: false, ...found, problem: null }),
      (error) => setDoctor({ busy: false, findings: null, problem: error.message }),
    )
  }
  return html`<section class="card">
      <h2>Redis</h2>
      ${health === null ? html`<p class="dim">Asking …</p>` : html`<${Servers} health=${health} />`}
    </section>
    <section class="card">
      <h2>Processes</h2>
      <${Grid}
        label="Processes"
        rows=${processes ?? []}
        empty="No process reports."
        columns=${[
          { name: 'Application', cell: ({ application }) => application },
          { name: 'Process', cell: ({ host, pid }) => `${host}:${pid}` },
          { name: 'redwell', cell: ({ version }) => version },
          { name: 'Node.js', cell: ({ node }) => node },
          { name: 'Up', number: true, cell: ({ startedAt, at }) => duration(at - startedAt) },
          { name: 'Memory', number: true, cell: ({ memoryBytes }) => bytes(memoryBytes) },
          { name: 'Clock', number: true, cell: ({ clockOffsetMs }) => `${clockOffsetMs} ms` },
          { name: 'Redis', cell: ({ status }) => html`<span class=${status}>${status}</span>` },
        ]}
      />
    </section>
    <section class="card">
      <h2>Doctor</h2>
      <div class="buttons">
        <button type="button" class="main" disabled=${doctor.busy} onClick=${look}>Look at everything</button>
      </div>
      <p role="status" class="dim">${doctor.busy ? 'Looking, some seconds …' : ''}</p>
      <${Problem} text=${doctor.problem} />
      ${
        doctor.findings !== null &&
        html`<${Grid}
            label="Findings"
            rows=${doctor.findings}
            columns=${[
              { name: 'Level', cell: ({ level }) => html`<span class=${level}>${level}</span>` },
              { name: 'About', cell: ({ about }) => about },
              { name: 'Found', cell: ({ found }) => found },
              { name: 'What to do', cell: ({ advice }) => advice },
            ]}
          />
          ${doctor.prefixes.length > 0 && html`<p>Other prefixes on these servers: ${short(doctor.prefixes.join(', '))}</p>`}
          <details>
            <summary>Settings in force, secrets masked</summary>
            <pre tabindex="0" aria-label="Settings">${JSON.stringify(doctor.settings, undefined, 2)}</pre>
          </details>`
      }
    </section>`
}

function Servers({ health }) {
  const { status, topology, roundTripMs, clockOffsetMs, counters, servers } = health
  return html`<dl class="fields">
      <dt>Status</dt>
      <dd><span class=${status}>${status}</span>, ${topology}</dd>
      <dt>Round trip</dt>
      <dd>${millis(roundTripMs)}</dd>
      <dt>Clock</dt>
      <dd>${clockOffsetMs === null ? '-' : `differs by ${clockOffsetMs} ms`}</dd>
      <dt>Commands of this process</dt>
      <dd>
        ${counters.missed} late, ${counters.lost} lost, ${counters.refused} not sent; breaker opened: ${counters.opened}
      </dd>
    </dl>
    ${
      servers.length > 0 &&
      html`<${Grid}
        label="Servers"
        rows=${servers}
        columns=${[
          { name: 'Server', cell: ({ where }) => where },
          { name: 'State', cell: ({ state, reason }) => html`<span class=${state}>${reason ?? state}</span>` },
          { name: 'Version', cell: told(({ program }) => program) },
          { name: 'Memory', number: true, cell: told(memoryOf) },
          { name: 'Policy', cell: told(({ evictionPolicy }) => evictionPolicy) },
          { name: 'Evicted', number: true, cell: told(({ evictedKeys }) => count(evictedKeys)) },
          { name: 'Clients', number: true, cell: told(({ clients }) => count(clients)) },
          { name: 'Commands/s', number: true, cell: told(({ commandsPerSecond }) => count(commandsPerSecond)) },
          {
            name: 'Replicas',
            cell: ({ replicas }) =>
              replicas.map(({ address, lagSeconds }) => `${address} (${lagSeconds} s)`).join(', '),
          },
        ]}
      />`
    }`
}

/** What a server says of itself; one that does not answer has no role, and says nothing. */
function told(cell) {
  return (server) => (server.role === '' ? '-' : cell(server))
}

function memoryOf({ memoryBytes, maxMemoryBytes }) {
  return maxMemoryBytes === 0 ? bytes(memoryBytes) : `${bytes(memoryBytes)} of ${bytes(maxMemoryBytes)}`
}

/** What the cache would do with a request. */
export function Explain({ query, go, act, about }) {
  const asked = {
    method: query.get('method') ?? 'GET',
    url: query.get('url') ?? '',
    headers: query.get('headers') ?? '',
  }
  const found = useAnswer(
    () => (asked.url === '' ? Promise.resolve(null) : ask('explain', asked)),
    JSON.stringify(asked),
  )
  const submit = (event) => {
    event.preventDefault()
    go('explain', Object.fromEntries(new FormData(event.target)))
    found.again()
  }
  const evict = () =>
    act({
      text: `Evict all entries of ${asked.url}?`,
      action: 'Evict',
      run: () => change('evict', { url: asked.url }),
      done: found.again,
    })
  return html`<form onSubmit=${submit}>
      <label
        >Method<select name="method" key=${asked.method}>
          ${['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].map((name) => html`<option value=${name} selected=${name === asked.method}>${name}</option>`)}
        </select></label
      >
      <label class="wide"
        >Path and query, or a URL<input
          name="url"
          key=${asked.url}
          defaultValue=${asked.url}
          required
          placeholder="/products/42?color=red"
      /></label>
      <label class="wide"
        >Fields, one a line<textarea
          name="headers"
          rows="2"
          placeholder="Accept-Language: de"
          key=${asked.headers}
          defaultValue=${asked.headers}
        />
      </label>
      <button class="main">Explain</button>
    </form>
    <p role="status" class="dim">${found.busy && asked.url !== '' ? 'Asking the processes, some seconds …' : ''}</p>
    <${Problem} text=${found.problem} />
    ${found.value !== null && html`<${Explained} found=${found.value} />`}
    ${found.value !== null && about.mayChange && html`<div class="buttons"><button type="button" onClick=${evict}>Evict this URL …</button></div>`}`
}

function Explained({ found }) {
  const { route, outcome, reason, meaning, fix, key, vary, entry, lastRefusal } = found
  return html`<section class="card" aria-label="Explanation">
    <dl class="fields">
      <dt>Route</dt>
      <dd>${visible(route)}</dd>
      <dt>Outcome</dt>
      <dd><strong class=${outcome}>${outcome}</strong> (${reason}): ${meaning}</dd>
      ${
        key !== undefined &&
        html`<dt>Key</dt>
          <dd class="key">${visible(key)}</dd>`
      }
      ${
        vary.length > 0 &&
        html`<dt>Varies by</dt>
          <dd>${visible(vary.join(', '))}</dd>`
      }
      ${
        entry !== undefined &&
        html`<dt>Entry</dt>
          <dd>
            status ${entry.status}, ${bytes(entry.bodyBytes)}, age ${duration(entry.ageMs)}, fresh for
            ${duration(entry.freshForMs)}
          </dd>`
      }
      ${
        lastRefusal !== undefined &&
        html`<dt>Last refusal</dt>
          <dd>${time(lastRefusal.at)}: <${Words} text=${lastRefusal.message} /></dd>`
      }
      ${
        fix !== '' &&
        html`<dt>What to do</dt>
          <dd><${Words} text=${fix} /></dd>`
      }
    </dl>
  </section>`
}
