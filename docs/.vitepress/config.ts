import { existsSync, readFileSync } from 'node:fs'
import { dirname, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type DefaultTheme } from 'vitepress'
import llmstxt from 'vitepress-plugin-llms'

const REPOSITORY = 'https://github.com/redwell/redwell'

const docs = dirname(dirname(fileURLToPath(import.meta.url)))

/** Where the site stands below its host; GitHub Pages has it under the name of the repository. */
const base = process.env['DOCS_BASE'] ?? '/redwell/'

const guide: DefaultTheme.SidebarItem[] = [
  {
    text: 'Start',
    items: [
      { text: 'Quick start: Fastify', link: '/quick-start/fastify' },
      { text: 'Quick start: Hono', link: '/quick-start/hono' },
      { text: 'Quick start: Express', link: '/quick-start/express' },
      { text: 'Quick start: NestJS', link: '/quick-start/nestjs' },
      { text: 'Quick start: sessions', link: '/quick-start/sessions' },
      { text: 'Quick start: rate limiting', link: '/quick-start/rate-limiting' },
      { text: 'Concepts', link: '/concepts' },
      { text: 'Why is it not cached?', link: '/troubleshooting' },
    ],
  },
  {
    text: 'Guides',
    items: [
      { text: 'Route caching', link: '/route-caching' },
      { text: 'Data cache', link: '/data-cache' },
      { text: 'Rate limiting', link: '/rate-limiting' },
      { text: 'Sessions', link: '/sessions' },
      { text: 'Fastify', link: '/fastify' },
      { text: 'Hono', link: '/hono' },
      { text: 'Express', link: '/express' },
      { text: 'NestJS', link: '/nestjs' },
      { text: 'Testing', link: '/testing' },
    ],
  },
  {
    text: 'Recipes',
    items: [
      { text: 'Routes', link: '/recipes-routes' },
      { text: 'Values', link: '/recipes' },
      { text: 'Jobs, deploys, Compose', link: '/recipes-production' },
    ],
  },
  {
    text: 'In production',
    items: [
      { text: 'Checklist', link: '/checklist' },
      { text: 'Connection', link: '/connection' },
      { text: 'Near cache', link: '/near-cache' },
      { text: 'Operations', link: '/operations' },
      { text: 'Security', link: '/security' },
      { text: 'Telemetry', link: '/telemetry' },
      { text: 'Command line', link: '/command-line' },
      { text: 'Dashboard', link: '/dashboard' },
    ],
  },
  {
    text: 'Choose',
    items: [
      { text: 'Comparison', link: '/comparison' },
      { text: 'Coming from elsewhere', link: '/migration' },
      { text: 'Compatibility', link: '/compatibility' },
      { text: 'Support policy', link: '/support' },
    ],
  },
  {
    text: 'Reference',
    items: [
      { text: 'Route options', link: '/options' },
      { text: 'Settings', link: '/settings' },
      { text: 'HTTP rules', link: '/http' },
      { text: 'Errors', link: '/errors' },
      { text: 'API', link: '/api/' },
    ],
  },
  {
    text: 'How it works',
    items: [
      { text: 'Consistency', link: '/consistency' },
      { text: 'Conformance', link: '/conformance' },
      { text: 'Internals', link: '/internals' },
    ],
  },
]

/** Of the parts of a table. */
const ROLES: Readonly<Record<string, string>> = {
  table_open: 'table',
  thead_open: 'rowgroup',
  tbody_open: 'rowgroup',
  tr_open: 'row',
  th_open: 'columnheader',
  td_open: 'cell',
}

/** typedoc writes it; without it the site has no API pages. */
const api = `${docs}/api/typedoc-sidebar.json`
const apiSidebar: DefaultTheme.SidebarItem[] = existsSync(api)
  ? (JSON.parse(readFileSync(api, 'utf8')) as DefaultTheme.SidebarItem[]).map((entry) => ({
      ...entry,
      collapsed: false,
    }))
  : []

export default defineConfig({
  title: 'redwell',
  description: 'Redis for TypeScript web applications: route caching, a data cache, sessions and rate limits.',
  lang: 'en',
  base,
  cleanUrls: true,
  lastUpdated: true,
  srcExclude: ['decisions/**'],
  transformPageData: ({ relativePath, frontmatter }) => {
    // Pages of the API are made, so there is nothing to edit; a quick start has room for its program instead of an outline.
    if (relativePath.startsWith('api/')) Object.assign(frontmatter, { editLink: false, prev: false, next: false })
    if (relativePath.startsWith('quick-start/')) frontmatter['aside'] = false
  },
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `${base}logo.svg` }]],
  sitemap: { hostname: 'https://redwell.github.io/redwell/' },
  themeConfig: {
    logo: '/logo.svg',
    nav: [
      { text: 'Quick start', link: '/quick-start/fastify', activeMatch: '/quick-start/' },
      { text: 'Guides', link: '/route-caching' },
      { text: 'Options', link: '/options' },
      { text: 'API', link: '/api/', activeMatch: '/api/' },
    ],
    sidebar: { '/': guide, '/api/': [{ text: 'Guides', link: '/concepts' }, ...apiSidebar] },
    outline: { level: [2, 3] },
    socialLinks: [{ icon: 'github', link: REPOSITORY }],
    editLink: { pattern: `${REPOSITORY}/edit/main/docs/:path`, text: 'Edit this page' },
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          // Guides come before the API reference, which has every word.
          searchOptions: { boostDocument: (id: string) => (id.includes('/api/') ? 0.4 : 1) },
        },
      },
    },
    footer: { message: 'MIT licensed.' },
  },
  markdown: {
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
    config: (md) => {
      // On a phone each row of a table is a card, whose cells have the name of their column (see style.css). Roles keep it
      // a table for screen readers.
      md.core.ruler.push('cells', ({ tokens }) => {
        let labels: string[] = []
        let column = 0
        for (const [index, token] of tokens.entries()) {
          const role = ROLES[token.type]
          if (role !== undefined) token.attrSet('role', role)
          if (token.type === 'thead_open') labels = []
          if (token.type === 'tr_open') column = 0
          if (token.type === 'th_open') labels.push(tokens[index + 1]?.content.replaceAll('`', '') ?? '')
          if (token.type === 'td_open') token.attrSet('data-label', labels[column++] ?? '')
        }
      })
      // Pages also link to files of the repository: those links work on GitHub, and here lead to GitHub.
      md.core.ruler.push('repository', ({ tokens, env }) => {
        const page = (env as { relativePath?: string }).relativePath ?? ''
        for (const link of tokens.flatMap(({ children }) => children ?? [])) {
          const target = link.type === 'link_open' ? link.attrGet('href') : null
          if (target === null || /^(?:[a-z]+:|#|\/)/.test(target)) continue
          const path = posix.join('docs', posix.dirname(page), target)
          if (path.startsWith('docs/') && !path.startsWith('docs/decisions/')) continue
          link.attrSet('href', `${REPOSITORY}/blob/main/${path}`)
        }
      })
    },
  },
  vite: { plugins: [llmstxt()] },
})
