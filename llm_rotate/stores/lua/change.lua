-- Changes states, each only from the version it was judged from, and frees trials.
-- KEYS: from the fourth on one per change; a subject's changes come in their order.
-- ARGV: 1 epoch as the caller knows it, 2 lease ms, then per change eight words:
-- subject, version it was judged from ("any": whatever stands, "free": only frees the
-- trial, "renew": only extends it), kind, ms of rest ("inf": for ever, "": none), ms since it began,
-- rest of the state, id of this change, id of the lease whose trial ends ("": none).
-- Reply: now, epoch, count before, count after, then per change 1 (done) or 0 (another
-- version stands) and the state as it now is.
local values = redis.call('MGET', unpack(KEYS))
local epoch, before = life(values[1], values[2])
local count = before
local lease_ms = tonumber(ARGV[2])

local function keep(number, state, is_new)
  local key = KEYS[3 + number]
  if is_new then
    local left = math.max(0, state.till - now) + KEPT_MS
    redis.call('SET', key, written(state), 'PX', whole(math.min(left, SHARED_MS)))
  else
    redis.call('SET', key, written(state), 'KEEPTTL')
  end
end

local function change(state, at)
  local rest = ARGV[at + 3]
  state.version = state.version + 1
  state.kind = ARGV[at + 2]
  state.till = rest == 'inf' and FOREVER or (rest == '' and 0 or now + tonumber(rest))
  state.since = now - tonumber(ARGV[at + 4])
  state.rest = ARGV[at + 5]
  state.op = ARGV[at + 6]
end

local function free(state, lease)
  if lease ~= '' and state.trial == lease then
    state.trial, state.trial_till = '', 0
    return true
  end
  return false
end

local reply = {whole(now), epoch, whole(before), '0'}
local states, refused = {}, {}
local number = 0
for at = 3, #ARGV, 8 do
  number = number + 1
  local subject, seen, lease = ARGV[at], ARGV[at + 1], ARGV[at + 7]
  local state = states[subject] or read(values[3 + number])
  states[subject] = state
  local is_done = 1
  if seen == 'renew' then
    if state.trial == lease then
      state.trial_till = now + lease_ms
      keep(number, state, false)
    end
  elseif seen == 'free' then
    if free(state, lease) then
      keep(number, state, false)
      count = tell(count, subject)
    end
  elseif state.op == ARGV[at + 6] then
    is_done = 1 -- came twice: the answer to the first was lost
  elseif seen == 'any' or (not refused[subject] and ARGV[1] == epoch
      and tonumber(seen) == state.version) then
    change(state, at)
    if seen == 'any' then
      state.trial, state.trial_till = '', 0
    end
    free(state, lease)
    keep(number, state, true)
    count = tell(count, subject)
  else
    is_done = 0
    refused[subject] = true -- what was judged from it falls with it
  end
  reply[#reply + 1] = is_done
  reply[#reply + 1] = state.version > 0 and written(state) or ''
end

if count > before then
  keep_count(count)
end
reply[4] = whole(count)
return reply
