// npm run samples [-- page.md …] [-- --peers]: compiles every `ts` block of README.md and docs/ at once against the package as it is
// published, and runs those that are whole programs. An HTML comment above a block says what it is:
//
//   <!-- sample: fastify -->     the block may use the names that docs/samples/fastify.ts exports
//   <!-- samples: fastify -->    the same, for all blocks from here on
//   <!-- sample: run             the block is a program; each line is a request to port 3000 and what it must answer
//   PUT /products/1 [cookie: a=b] {"id":"1"} -> 200 HIT lamp
//   -->
//   <!-- sample: before -->      the block uses another package: it is compiled with --peers alone, where the bench
//                                installs what it compares with
//
// After `->` stand the status, the value of X-Redis-Cache, and a text that the body contains; the last two may be left
// out. Cookies are kept and sent back, as by a browser. Without requests the program must end by itself. Faults are
// reported as page:line.
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ensureBuilt, ensureInstalled, root, say, stop } from './prepare.mjs'

/** A server that has not answered by then does not start. */
const START_MS = 20_000

const CONTEXTS = join(root, 'docs/samples')

const COMPILER = {
  target: 'ES2023',
  lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  experimentalDecorators: true,
  skipLibCheck: true,
}

const PEERS = join(root, 'node_modules/.cache/bench-peers')

/** Pages with samples, relative to the repository. */
export function pages() {
  const inDocs = readdirSync(join(root, 'docs'), { recursive: true }).map(String)
  const own = inDocs.filter((path) => path.endsWith('.md') && !/(^|\/)(node_modules|api|\.vitepress)\//.test(path))
  return ['README.md', ...own.map((path) => `docs/${path}`).toSorted()]
}

/** The `ts` blocks of a page: { page, line, code, context?, requests? }. `line` is that of the first line of code. */
export function samplesOf(page, text) {
  const samples = []
  let pageContext
  const pattern = /<!-- (samples?): ([\w-]+)([^]*?)-->|^```ts\b.*\n([^]*?)^```$/gm
  let comment
  for (const match of text.matchAll(pattern)) {
    const [, kind, word, rest, code] = match
    if (kind === 'samples') pageContext = word
    else if (kind === 'sample') comment = { name: word, rest, end: match.index + match[0].length }
    else {
      // A comment belongs to the block right below it.
      const own = comment !== undefined && text.slice(comment.end, match.index).trim() === '' ? comment : undefined
      const line = text.slice(0, match.index).split('\n').length + 1
      const name = own?.name ?? pageContext
      const requests = own?.name === 'run' ? requestsOf(own.rest, `${page}:${line}`) : undefined
      samples.push({ page, line, code, ...(requests ? { requests } : { context: name }) })
    }
  }
  return samples
}

function requestsOf(text, where) {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const match = /^(\w+) (\S+)((?: \[[^\]]+\])*)(?: (\S.*))? -> (\d+)(?: (HIT|MISS|BYPASS))?(?: (.+))?$/.exec(
      line.trim(),
    )
    if (match === null) return stop(`${where}: not a request: ${line}`)
    const [, method, path, fields, body, status, outcome, contains] = match
    const headers = Object.fromEntries(
      Array.from(fields.matchAll(/\[([^:]+): ([^\]]+)\]/g), ([, key, value]) => [key, value]),
    )
    return { line: line.trim(), method, path, headers, body, status: Number(status), outcome, contains }
  })
}

/** Compiles and runs samples of redwell. Resolves with the faults, as texts that begin with page:line. */
export async function check(all) {
  const samples = all.filter(({ context }) => context !== 'before')
  mkdirSync(join(root, 'node_modules/.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, 'node_modules/.cache/redwell-samples-'))
  try {
    installPackage(folder)
    const faults = [...compile(samples, folder), ...compileAlone(samples, folder)]
    if (faults.length > 0) return faults
    const programs = samples.flatMap((sample, index) => (sample.requests === undefined ? [] : [{ sample, index }]))
    for (const { sample, index } of programs) faults.push(...(await run(sample, join(folder, fileOf(index, 'js')))))
    return faults
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Programs that add to types of a module: what other samples import must not be what makes them compile. */
function compileAlone(samples, folder) {
  const adding = samples.filter(({ code, requests }) => requests !== undefined && code.includes('declare module'))
  return adding.flatMap((sample) => compile([sample], mkdtempSync(join(folder, 'alone-'))))
}

/** Compiles the samples of other packages, against what the bench installs. Returns the faults. */
function checkPeers(all) {
  const install = "const { installPeers } = await import('./bench/peers/index.ts'); installPeers()"
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', install], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) stop('the packages of bench/peers cannot be installed.')
  const folder = mkdtempSync(join(PEERS, 'samples-'))
  try {
    return compile(
      all.filter(({ context }) => context === 'before'),
      folder,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The files that `npm pack` would publish, where samples import them by the package's name. */
function installPackage(folder) {
  const { status, stdout } = npmPack()
  if (status !== 0) stop('npm pack failed.')
  for (const { path } of JSON.parse(stdout)[0].files) {
    cpSync(join(root, path), join(folder, 'node_modules/redwell', path))
  }
}

function npmPack() {
  const own = process.env['npm_execpath']
  const [command, first] = own?.endsWith('.js') === true ? [process.execPath, [own]] : ['npm', []]
  const args = [...first, 'pack', '--dry-run', '--json', '--ignore-scripts']
  return spawnSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

function fileOf(index, extension) {
  return `sample-${index}.${extension}`
}

function compile(samples, folder) {
  cpSync(CONTEXTS, join(folder, 'contexts'), { recursive: true })
  for (const [index, sample] of samples.entries()) {
    writeFileSync(join(folder, fileOf(index, 'ts')), withContext(sample))
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  const files = samples.map((_, index) => fileOf(index, 'ts'))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER, files }))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  })
  return stdout.split('\n').flatMap((line) => {
    const [, index, row, column, message] = /(?:^|\/)sample-(\d+)\.ts\((\d+),(\d+)\): (.*)$/.exec(line) ?? []
    if (index === undefined) return /\berror TS/.test(line) ? [line] : []
    const sample = samples[Number(index)]
    return [`${sample.page}:${sample.line + Number(row) - 1}:${column}: ${message}`]
  })
}

/** The code, then an import of the names of its context that it uses and does not declare: lines stay what they are. */
function withContext({ code, context }) {
  if (context === undefined || context === 'none') return `${code}\nexport {}\n`
  const own = context === 'common' ? [] : usedOf(context, code)
  const common = context === 'before' ? [] : usedOf('common', code).filter((name) => !own.includes(name))
  const imports =
    context === 'common' ? { common } : context === 'before' ? { before: own } : { [context]: own, common }
  const lines = Object.entries(imports).map(
    ([file, names]) => `import { ${names.join(', ')} } from './contexts/${file}.js'`,
  )
  return `${code}\n${lines.join('; ')}\n`
}

/** The names of a context that the code uses. */
function usedOf(context, code) {
  const source = readFileSync(join(CONTEXTS, `${context}.ts`), 'utf8')
  const declared = /^export (?:declare )?(?:abstract )?(?:const|let|function|class|interface|type) (\w+)/gm
  const listed = /^export (?:type )?\{ ([^}]*) \}/gm
  const exported = [
    ...Array.from(source.matchAll(declared), ([, name]) => name),
    ...Array.from(source.matchAll(listed), ([, names]) => names.split(', ')).flat(),
  ]
  return exported.filter((name) => new RegExp(`\\b${name}\\b`).test(code) && !declares(code, name))
}

function declares(code, name) {
  const declaration = new RegExp(
    `^(?:export )?(?:const|let|await using|function|async function|class|interface|type) ${name}\\b`,
    'm',
  )
  const imported = new RegExp(`^import [^;'"]*\\b${name}\\b[^;'"]* from`, 'm')
  const destructured = new RegExp(`^const [{[][^=]*\\b${name}\\b[^=]*[}\\]] =`, 'm')
  return [declaration, imported, destructured].some((pattern) => pattern.test(code))
}

async function run({ page, line, requests }, file) {
  const port = await freePort()
  const source = readFileSync(file, 'utf8')
    .replace(/\b3000\b/g, String(port))
    .replaceAll('redis://localhost:6379', 'memory:')
  writeFileSync(file, source)
  const child = spawn(process.execPath, [file], { env: { ...process.env, REDIS_URL: 'memory:' }, stdio: 'pipe' })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const where = `${page}:${line}`
  try {
    if (requests.length === 0) {
      const code = await Promise.race([ended, sleep(START_MS, 'time-out', { ref: false })])
      return code === 0 ? [] : [`${where}: the program ended with ${code}: ${output}`]
    }
    if (!(await answers(port, ended))) return [`${where}: the program does not answer: ${output}`]
    const faults = []
    const jar = new Map()
    for (const wanted of requests) faults.push(...(await ask(port, wanted, jar)).map((fault) => `${where}: ${fault}`))
    return faults
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

async function answers(port, ended) {
  for (const end = Date.now() + START_MS; Date.now() < end;) {
    if ((await Promise.race([ended.then(() => 'over'), sleep(20)])) === 'over') return false
    if ((await send(port, { method: 'OPTIONS', path: '/', headers: {} })) !== undefined) return true
  }
  return false
}

async function ask(port, wanted, jar) {
  const cookie = Array.from(jar, ([name, value]) => `${name}=${value}`).join('; ')
  const answer = await send(port, {
    ...wanted,
    headers: cookie === '' ? wanted.headers : { cookie, ...wanted.headers },
  })
  if (answer === undefined) return [`${wanted.line}: no answer`]
  for (const field of answer.cookies) jar.set(...field.split(';')[0].split(/=(.*)/s).slice(0, 2))
  const { status, outcome, body } = answer
  const right =
    status === wanted.status &&
    (wanted.outcome === undefined || outcome === wanted.outcome) &&
    (wanted.contains === undefined || body.includes(wanted.contains))
  return right ? [] : [`${wanted.line}: was ${status} ${outcome ?? '(no X-Redis-Cache)'} ${body}`]
}

/** Not with fetch, which adds `Cache-Control: no-cache` to conditional requests. */
function send(port, { method, path, headers, body }) {
  const json = body === undefined ? {} : { 'content-type': 'application/json' }
  return new Promise((resolve) => {
    const sent = request({ port, host: '127.0.0.1', method, path, headers: { ...json, ...headers } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
      response.once('end', () =>
        resolve({
          status: response.statusCode,
          outcome: response.headers['x-redis-cache'],
          cookies: response.headers['set-cookie'] ?? [],
          body: text,
        }),
      )
    })
    sent.once('error', () => resolve(undefined)).end(body)
  })
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensureInstalled()
  if (!ensureBuilt()) stop('the build failed; the messages above say where.')
  const named = process.argv.slice(2).filter((name) => name !== '--peers')
  const samples = pages()
    .filter((page) => named.length === 0 || named.some((name) => page.includes(name)))
    .flatMap((page) => samplesOf(page, readFileSync(join(root, page), 'utf8')))
  const faults = [...(await check(samples)), ...(process.argv.includes('--peers') ? checkPeers(samples) : [])]
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  if (faults.length > 0) stop(`${faults.length} faults in ${samples.length} samples`)
  say(`${samples.length} samples compile, ${samples.filter((sample) => sample.requests).length} of them run`)
}
