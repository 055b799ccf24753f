-- A live worker keeps what has no end from going away: the namespace, and states without
-- an end (KEYS from the fourth on). It writes, so that it also shows whether one can.
redis.call('SET', KEYS[1], epoch_of(redis.call('GET', KEYS[1])), 'PX', SHARED_MS)
for i = 2, #KEYS do
  redis.call('PEXPIRE', KEYS[i], SHARED_MS)
end
return {whole(now)}
