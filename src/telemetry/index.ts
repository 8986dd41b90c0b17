export { subscribe } from './channels.js'
export type {
  BreakerEvent,
  CacheEvents,
  ConnectionEvent,
  EvictionEvent,
  FenceEvent,
  LookupEvent,
  Origin,
  Outcome,
  RefreshEvent,
  RefusalEvent,
  RetryEvent,
  StandInEvent,
  StoreEvent,
  StoreResult,
  WaitEvent,
} from './events.js'
