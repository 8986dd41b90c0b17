import { test } from 'vitest'
import { PATIENCE_MS, shopWorks } from './shop.js'

test(
  'the shop on Express caches and invalidates; shop.long.test.ts has the others',
  () => shopWorks('express', {}),
  PATIENCE_MS,
)
