import type { Theme } from 'vitepress'
import DefaultTheme from 'vitepress/theme'
import BenchRows from './BenchRows.vue'
// oxlint-disable-next-line import/no-unassigned-import -- how styles are imported
import './style.css'

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.component('BenchRows', BenchRows)
  },
} satisfies Theme
