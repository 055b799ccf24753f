-- Common head of every script.
-- KEYS: 1 the namespace's epoch, 2 its count of changes, 3 what changed by the count of its
-- last change (subjects, and "room|" with the name of a bucket), then one state for each
-- subject that the script is about. Whatever else is read lies in the same slot: b: buckets,
-- l: what leases took of them.
-- A state: version|kind|until|since|trial|trial_until|op|rest; times are milliseconds of
-- this server's clock. What a kind means, and what follows from what, is the callers'
-- business: here are only versions, deadlines and who holds the one trial.
-- Whatever stands at a key and is not what belongs there counts as nothing and is written anew:
-- a script that fails cuts its worker off, for as long as the value lives.
local SHARED_MS = 2592000000 -- 30 days: an abandoned namespace goes by itself
local KEPT_MS = 86400000 -- 1 day beyond a rest's end
local FOREVER = 9000000000000000
local PATTERN = '^(%d+)|([ACQPD])|(%d+)|(%-?%d+)|([^|]*)|(%d+)|([^|]*)|(.*)$'

local moment = redis.call('TIME')
local now = moment[1] * 1000 + math.floor(moment[2] / 1000)

local SPACE = string.sub(KEYS[1], 1, -6) -- without "epoch": the namespace

local function whole(number)
  return string.format('%.0f', number)
end

local function read(text)
  local v, kind, till, since, trial, trial_till, op, rest = string.match(text or '', PATTERN)
  if not v then
    return {version = 0, kind = 'A', till = 0, since = 0, trial = '', trial_till = 0,
      op = '', rest = ''}
  end
  return {version = tonumber(v), kind = kind, till = tonumber(till), since = tonumber(since),
    trial = trial, trial_till = tonumber(trial_till), op = op, rest = rest}
end

local function written(state)
  return table.concat({whole(state.version), state.kind, whole(state.till), whole(state.since),
    state.trial, whole(state.trial_till), state.op, state.rest}, '|')
end

-- The value of a key, also where that is no string. false: nothing.
local function value_of(key)
  return redis.call('MGET', key)[1]
end

-- The namespace's life so far, and its count of changes: a new one begins when the server has
-- lost it.
local function life(epoch, count)
  count = tonumber(count or 0)
  if epoch and string.find(epoch, '^%d+$') and count then
    return epoch, count
  end
  epoch = moment[1] .. string.format('%06d', moment[2])
  redis.call('SET', KEYS[1], epoch, 'PX', SHARED_MS)
  redis.call('DEL', KEYS[2], KEYS[3])
  return epoch, 0
end

-- One more thing that all should hear of: a subject's state, or room under a limit.
local function tell(count, subject)
  redis.call('ZADD', KEYS[3], whole(count + 1), subject)
  return count + 1
end

local function keep_count(count)
  redis.call('SET', KEYS[2], whole(count), 'PX', SHARED_MS)
  redis.call('PEXPIRE', KEYS[3], SHARED_MS)
  redis.call('PEXPIRE', KEYS[1], SHARED_MS)
end
