import { test } from 'vitest'
import { worksWithout } from './permissions.js'

test.each(['publish', 'del'])('without %s something is refused, and no call of the cache fails', worksWithout)
