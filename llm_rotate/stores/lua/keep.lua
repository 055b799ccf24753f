-- A live worker (ARGV 1) says that it is there, and keeps what has no end from going away:
-- the namespace, and states without an end (KEYS from the fourth on). It writes, so that it
-- also shows whether one can. Reply: how many are there.
local PRESENT_MS = 60000
local workers = SPACE .. 'workers'
redis.call('SET', KEYS[1], (life(value_of(KEYS[1]))), 'PX', SHARED_MS)
for i = 2, #KEYS do
  redis.call('PEXPIRE', KEYS[i], SHARED_MS)
end
if type(redis.pcall('ZADD', workers, whole(now + PRESENT_MS), ARGV[1])) == 'table' then
  redis.call('DEL', workers) -- whatever stood there, it was no list of workers
  redis.call('ZADD', workers, whole(now + PRESENT_MS), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', '(' .. whole(now))
redis.call('PEXPIRE', workers, PRESENT_MS)
return redis.call('ZCARD', workers)
