// npm run newcomer [-- fastify …]: follows each quick start of docs/ to the letter: its shell lines and its program, in
// an empty folder, with the package as `npm pack` makes it. Needs the registry of npm, and port 3000.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureBuilt, ensureInstalled, npm, root, say, stop } from './prepare.mjs'

const PAGES = join(root, 'docs/quick-start')
const START_MS = 30_000

/** The blocks of a page in order: { language, code }. */
function blocksOf(text) {
  return Array.from(text.matchAll(/^```(\w+)\n([^]*?)^```$/gm), ([, language, code]) => ({ language, code }))
}

/** Runs shell lines as a reader would, and stops with their output if one fails. */
function shell(code, cwd) {
  const { status, stdout, stderr } = spawnSync('bash', ['-euc', code], { cwd, encoding: 'utf8' })
  if (status !== 0) stop(`${code}\nfailed: ${stdout}${stderr}`)
  return stdout
}

/** Each line of curl with what its comment says of the answer. */
function answersOf(code) {
  return code.split('\n').flatMap((line) => {
    const [command, comment = ''] = line.split(/\s+# /)
    return command.startsWith('curl') ? [{ command, comment }] : []
  })
}

/** What a comment of a page promises: a status, and HIT or MISS. */
function isKept(comment, output) {
  const wanted = [/\b[1-5]\d\d\b/.exec(comment)?.[0], /\b(?:HIT|MISS)\b/.exec(comment)?.[0]]
  const [status, outcome] = wanted
  return (
    (status === undefined || new RegExp(`^HTTP/1.1 ${status} `, 'm').test(output)) &&
    (outcome === undefined || new RegExp(`^x-redis-cache: ${outcome}\\r?$`, 'im').test(output))
  )
}

function isListening() {
  return new Promise((resolve) => {
    const socket = connect(3000, 'localhost', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function follow(page, tarball) {
  const blocks = blocksOf(readFileSync(join(PAGES, page), 'utf8'))
  const programAt = blocks.findIndex(({ language }) => language === 'ts')
  const folder = mkdtempSync(join(tmpdir(), 'redwell-newcomer-'))
  const shop = join(folder, 'shop')
  let child
  try {
    const setUp = blocks.slice(0, programAt).map(({ code }) => code)
    // Until the first release the registry does not have the package.
    shell(setUp.join('').replace(/(npm install )redwell\b/, `$1${tarball}`), folder)
    writeFileSync(join(shop, 'app.ts'), blocks[programAt].code)
    child = spawn('npx', ['tsx', 'app.ts'], { cwd: shop, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    for (const end = Date.now() + START_MS; !(await isListening()); await sleep(50)) {
      if (Date.now() > end || child.exitCode !== null) stop(`${page}: the program does not listen: ${output}`)
    }
    const faults = []
    for (const { code } of blocks.slice(programAt + 1)) {
      for (const { command, comment } of answersOf(code)) {
        const answer = shell(command.replace('curl', 'curl --silent --show-error'), shop)
        if (!isKept(comment, answer)) faults.push(`${page}: ${command} # ${comment}\n${answer}`)
      }
    }
    return faults
  } finally {
    // npx starts the program as a child of its own: both are in the group that was made for them.
    if (child?.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
if (await isListening()) stop('port 3000 is in use.')
const packed = mkdtempSync(join(tmpdir(), 'redwell-packed-'))
try {
  npm(['pack', '--ignore-scripts', '--silent', '--pack-destination', packed], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [tarball] = readdirSync(packed)
  const named = process.argv.slice(2)
  const wanted = readdirSync(PAGES).filter((page) => named.length === 0 || named.includes(basename(page, '.md')))
  const faults = []
  for (const page of wanted) faults.push(...(await follow(page, join(packed, tarball))))
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  if (faults.length > 0) stop(`${faults.length} lines of the quick starts answered otherwise`)
  say(`${wanted.length} quick starts followed`)
} finally {
  rmSync(packed, { recursive: true, force: true })
}
