import { html, useState } from './htm-preact.js'
import { ask, change } from './api.js'
import { bytes, count, duration, millis, percent, short, sumOf, time, visible } from './format.js'
import { Grid, History, More, Problem, Reasons, Search, emptyOf, useAnswer, useList } from './parts.js'

const STALE_CLASS = 'dim'

/** Numbers of the whole application, its day, and what happens now. */
export function Overview({ live, about }) {
  const history = useAnswer(() => ask('history'), '', live.minute)
  const { totals, events, health } = live
  return html`<${Tiles} totals=${totals} health=${health} />
    <section class="card">
      <h2>Answers from the cache, last 24 hours</h2>
      <${History} answer=${history} title="Share of lookups answered from the cache, last 24 hours" />
    </section>
    ${
      totals !== null &&
      html`<${Reasons} title="Misses" counts=${totals.all.misses} words=${about.words} />
        <${Reasons} title="Bypasses" counts=${totals.all.bypasses} words=${about.words} />
        <${Reasons} title="Refusals: served and not stored" counts=${totals.all.refusals} words=${about.words} />`
    }
    <section class="card">
      <h2>Now</h2>
      <${Grid}
        label="The last events of all processes"
        rows=${events}
        empty="Nothing has happened since this page was opened."
        columns=${[
          { name: 'Time', cell: ({ at }) => new Date(at).toLocaleTimeString() },
          { name: 'Outcome', cell: ({ outcome }) => html`<span class=${outcome}>${outcome}</span>` },
          { name: 'Reason', cell: ({ reason }) => reason },
          { name: 'Route', cell: ({ origin }) => origin },
          {
            name: 'Key',
            cell: ({ key }) => (key === undefined ? '' : html`<a class="key" href=${entryLink(key)}>${short(key)}</a>`),
          },
          { name: 'Took', number: true, cell: ({ ms }) => (ms === undefined ? '' : millis(ms)) },
        ]}
      />
    </section>`
}

function entryLink(key) {
  return `#/entries?key=${encodeURIComponent(key)}`
}

function Tiles({ totals, health }) {
  const all = totals?.all
  const tiles = [
    ['From the cache', all === undefined ? '…' : percent(all.hitRatio)],
    ['Lookups/s', all?.perSecond?.toFixed(1) ?? '…'],
    ['p99 of decisions', all === undefined || all.latency === null ? '-' : millis(all.latency.p99Ms)],
    ['Processes', totals === null ? '…' : totals.processes],
    ['Redis', health === null ? '…' : html`<span class=${health.status}>${health.status}</span>`],
  ]
  return html`<dl class="tiles">
    ${tiles.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}

/** One row for each route and namespace; a name opens its own day and reasons. */
export function Routes({ live, about, query }) {
  const { totals } = live
  if (totals === null) return html`<p class="dim">Waiting for the processes …</p>`
  const chosen = totals.origins.find(({ name }) => name === query.get('name'))
  const rows = totals.origins.filter(({ lookups }) => lookups > 0)
  return html`<section class="card">
      <${Grid}
        label="Routes and namespaces"
        rows=${rows}
        empty="No lookups yet."
        columns=${[
          {
            name: 'Route or namespace',
            cell: ({ name }) =>
              html`<a class="long" href=${`#/routes?name=${encodeURIComponent(name)}`}>${short(name)}</a>`,
          },
          { name: 'Lookups', number: true, cell: ({ lookups }) => count(lookups) },
          { name: 'Lookups/s', number: true, cell: (origin) => origin.perSecond?.toFixed(1) ?? '…' },
          { name: 'From cache', number: true, cell: ({ hitRatio }) => percent(hitRatio) },
          { name: 'Stale', number: true, cell: ({ stale }) => count(stale) },
          { name: 'Misses', number: true, cell: ({ misses }) => count(sumOf(misses)) },
          { name: 'Bypasses', number: true, cell: ({ bypasses }) => count(sumOf(bypasses)) },
          { name: 'Refused', number: true, cell: ({ refusals }) => count(sumOf(refusals)) },
          ...['p50Ms', 'p90Ms', 'p99Ms'].map((name) => ({
            name: name.slice(0, -2),
            number: true,
            cell: ({ latency }) => (latency === null ? '-' : millis(latency[name])),
          })),
        ]}
      />
    </section>
    ${chosen !== undefined && html`<${Route} origin=${chosen} words=${about.words} minute=${live.minute} />`}`
}

function Route({ origin, words, minute }) {
  const history = useAnswer(() => ask('history', { origin: origin.name }), origin.name, minute)
  const { stores, fenced, failedStores, collapsed, waits, refreshes, staleIfError } = origin
  const numbers = {
    stored: count(stores),
    'invalidated meanwhile': count(fenced),
    'failed to store': count(failedStores),
    collapsed: count(collapsed),
    waited: count(waits),
    refreshed: count(refreshes),
    'stale on error': count(staleIfError),
    'bytes served': bytes(origin.bytes.served),
    'bytes stored': bytes(origin.bytes.stored),
  }
  return html`<section class="card">
      <h2>${visible(origin.name)}</h2>
      <${History} answer=${history} title=${`Share answered from the cache, ${short(origin.name)}`} />
      <dl class="numbers">
        ${Object.entries(numbers).map(
          ([name, value]) =>
            html`<div>
              <dt>${name}</dt>
              <dd>${value}</dd>
            </div>`,
        )}
      </dl>
    </section>
    <${Reasons} title="Misses" counts=${origin.misses} words=${words} />
    <${Reasons} title="Bypasses" counts=${origin.bypasses} words=${words} />
    <${Reasons} title="Refusals" counts=${origin.refusals} words=${words} />`
}

/** What stands in the cache, and one entry of it. */
export function Entries({ query, go, act, about }) {
  const search = query.get('search') ?? ''
  const list = useList(
    (cursor) => ask('entries', { search, cursor, limit: 50 }),
    search,
    ({ key }) => key,
  )
  return html`<${Search}
      label="Keys that begin with"
      value=${search}
      placeholder="/products/ or value:users:"
      onSearch=${(text) => go('entries', { search: text })}
    />
    ${query.has('key') && html`<${Entry} key=${query.get('key')} name=${query.get('key')} act=${act} about=${about} onChange=${list.restart} />`}
    <${Problem} text=${list.problem} />
    <section class="card">
      <h2>Entries</h2>
      <${Grid}
        label="Entries"
        rows=${list.items}
        empty=${emptyOf(list, 'No entries.')}
        columns=${[
          {
            name: 'Key',
            cell: ({ key }) =>
              html`<a class="key" href=${`#/entries?${new URLSearchParams({ search, key })}`}>${short(key)}</a>`,
          },
          { name: 'Kind', cell: ({ kind, status }) => (kind === 'response' ? status : kind) },
          {
            name: 'State',
            cell: ({ state, reasons }) => html`<span class=${state} title=${short(reasons.join('; '))}>${state}</span>`,
          },
          { name: 'Age', number: true, cell: ({ ageMs }) => duration(ageMs) },
          { name: 'Fresh for', number: true, cell: ({ freshForMs }) => duration(freshForMs) },
          { name: 'Size', number: true, cell: ({ bodyBytes }) => bytes(bodyBytes) },
          {
            name: 'Groups',
            cell: ({ groups }) =>
              groups
                .filter(({ kind }) => kind !== 'path')
                .map(({ name }) => name)
                .join(', '),
          },
        ]}
      />
      <${More} list=${list} what=${['entry', 'entries']} />
    </section>`
}

function Entry({ name, act, about, onChange }) {
  const entry = useAnswer(() => ask('entry', { key: name }), name)
  const [body, setBody] = useState(null)
  const changed = () => {
    entry.again()
    onChange()
  }
  const evict = (soft) =>
    act({
      text: `${soft ? 'Make stale' : 'Evict'} ${name}?`,
      action: soft ? 'Make stale' : 'Evict',
      run: () => change('evict', { key: name, soft }),
      done: changed,
    })
  const show = () =>
    ask('body', { key: name }).then(setBody, (error) => setBody({ text: error.message, contentType: '' }))
  const found = entry.value
  return html`<section class="card" aria-label="Entry">
    <h2 class="key">${visible(name)}</h2>
    <${Problem} text=${entry.problem} />
    ${
      found !== null &&
      html`<${EntryFields} found=${found} />
        <div class="buttons">
          <button type="button" onClick=${show}>Show body</button>
          ${
            about.mayChange &&
            html`<button type="button" onClick=${() => evict(true)}>Make stale</button>
              <button type="button" class="main" onClick=${() => evict(false)}>Evict</button>`
          }
        </div>
        ${
          body !== null &&
          html`<h3>
              Body${body.contentType === '' ? '' : `, ${body.contentType}`}${body.truncated ? ', the first part' : ''}
            </h3>
            <pre tabindex="0" aria-label="Body">${body.text}</pre>`
        }`
    }
  </section>`
}

/** What an entry says of itself. */
function EntryFields({ found }) {
  return html`<dl class="fields">
      <dt>State</dt>
      <dd><span class=${found.state}>${found.state}</span>: ${visible(found.reasons.join('; '))}</dd>
      <dt>Kind</dt>
      <dd>${found.kind}${found.kind === 'response' ? `, status ${found.status}` : ''}</dd>
      <dt>Key in Redis</dt>
      <dd class="key">${visible(found.redisKey)}</dd>
      <dt>Stored</dt>
      <dd>${time(found.storedAt)}, age ${duration(found.ageMs)}</dd>
      <dt>Fresh for</dt>
      <dd>${duration(found.freshForMs)}</dd>
      <dt>Served stale for</dt>
      <dd>${duration(found.staleForMs)}</dd>
      <dt>Served on errors for</dt>
      <dd>${duration(found.errorForMs)}</dd>
      <dt>Body</dt>
      <dd>${bytes(found.bodyBytes)}</dd>
      <dt>Being filled</dt>
      <dd>${found.filling ? 'yes' : 'no'}</dd>
    </dl>
    <h3>Groups</h3>
    <${Grid}
      label="Groups of the entry"
      rows=${found.groups}
      columns=${[
        { name: 'Group', cell: ({ kind, name: group }) => (kind === 'prefix' ? 'everything' : group) },
        { name: 'Kind', cell: ({ kind }) => kind },
        { name: 'Says', cell: ({ allows }) => (allows ? 'valid' : html`<span class="invalid">not valid</span>`) },
        { name: 'Nothing older than', cell: ({ invalidatedAt }) => time(invalidatedAt) },
      ]}
    />
    <h3>Fields</h3>
    <dl class="fields">
      ${found.headers.map(
        ([field, value]) =>
          html`<dt class="key">${visible(field)}</dt>
            <dd class="key">${visible(value)}</dd>`,
      )}
    </dl>`
}

/** Groups with their last invalidation. */
export function Groups({ query, go, act, about }) {
  const search = query.get('search') ?? ''
  const list = useList(
    (cursor) => ask('groups', { search, cursor, limit: 100 }),
    search,
    ({ kind, name }) => `${kind} ${name}`,
  )
  const evict = ({ kind, name }, soft) =>
    act({
      text: `${soft ? 'Make stale' : 'Evict'} all entries of the ${kind} ${name}?`,
      action: soft ? 'Make stale' : 'Evict',
      run: () => change('evict', { [kind]: name, soft }),
      done: list.restart,
    })
  const columns = [
    { name: 'Group', cell: ({ name }) => name },
    { name: 'Kind', cell: ({ kind }) => kind },
    { name: 'Nothing older than', cell: ({ invalidatedAt }) => time(invalidatedAt) },
    { name: 'Last made stale', cell: ({ softenedAt }) => time(softenedAt) },
  ]
  const buttons = {
    name: 'Change',
    cell: (row) =>
      html`<span class="buttons">
        <button type="button" onClick=${() => evict(row, true)} aria-label=${`Make stale ${short(row.name)}`}>
          Make stale
        </button>
        <button type="button" onClick=${() => evict(row, false)} aria-label=${`Evict ${short(row.name)}`}>Evict</button>
      </span>`,
  }
  return html`<${Search}
      label="Groups that begin with"
      value=${search}
      onSearch=${(text) => go('groups', { search: text })}
    />
    <${Problem} text=${list.problem} />
    <section class="card">
      <h2>Groups and namespaces</h2>
      <${Grid}
        label="Groups and namespaces"
        rows=${list.items}
        empty=${emptyOf(list, 'No groups.')}
        columns=${about.mayChange ? [...columns, buttons] : columns}
      />
      <${More} list=${list} what=${['group', 'groups']} />
      ${about.mayChange && html`<${EvictAll} act=${act} prefix=${about.prefix} />`}
    </section>
    <p class=${STALE_CLASS}>
      Before its first invalidation a group shows when it was made. The groups of paths are not listed.
    </p>`
}

function EvictAll({ act, prefix }) {
  const evict = () =>
    act({
      text: `Evict everything under the prefix ${prefix}?`,
      action: 'Evict everything',
      run: () => change('evict', { all: true }),
      done: () => {},
    })
  return html`<div class="buttons"><button type="button" onClick=${evict}>Evict everything …</button></div>`
}
