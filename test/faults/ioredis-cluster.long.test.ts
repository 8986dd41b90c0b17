import { onIoRedisCluster } from '../support/ioredis.js'
import { clusterFaults } from './cluster-faults.js'
import { through } from './on-cluster.js'

through(onIoRedisCluster)
clusterFaults()
