import { describe } from 'vitest'
import { together } from './suite.js'

describe('next to each two of these every response is as without the cache', () => {
  together()
})
