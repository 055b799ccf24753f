-- core/bucket.py and core/limits.py in this server's terms, function for function; `recover`
-- is core/learned.py's. Buckets are read when they are first asked for and written at the end.
-- Whoever changes what a bucket or a record holds renames it (b:, l:): workers of two versions
-- share a namespace while they are replaced, and would each begin the other's anew.
local BACK_FOR_GOOD, ROUNDING, DAY = 2, 0.000001, 86400
local GUESS_SHARE, GUESS_STEP, GUESS_ENDS = 0.7, 0.05, 2
local BUCKET_MS = 93600000 -- 26 hours: after the longest day nothing of it counts any more
local RECORD_MS = 3600000 -- what a lease took can be corrected for an hour
local SETTLED_MS = 10000 -- and is known a while longer, in case it is settled twice
local GIVEN_BACK = 0 -- the place of a lease that nobody waits for any more
local SMALLEST = {0, 0, 0}
local LEASE_S = 60
local NAMES = {'rpm', 'tpm', 'input_tpm', 'output_tpm'}
local FIELDS = {'rpm', 'tpm', 'input_tpm', 'output_tpm', 'rpd', 'tpd', 'max_cost_per_day',
  'max_concurrency', 'request_burst', 'token_burst', 'window', 'learns'}
local seconds = moment[1] + moment[2] / 1000000
local buckets, changed = {}, {}

local function decimal(number)
  return string.format('%.17g', number)
end

-- What buckets, meters and records hold besides texts and tables; all are numbers.
local OF_BUCKET = {'at', 'ahead', 'day_ends', 'day_requests', 'day_tokens', 'day_dollars', 'open',
  'opened_before', 'generation', 'guess_from', 'guessed_at', 'guess_mark'}
local OF_METER = {'kind', 'since', 'told', 'guess', 'last', 'full_at', 'full_until', 'left',
  'left_until', 'stated', 'stated_burst', 'window', 'per_second', 'slots', 'total', 'limit',
  'burst', 'pace'}
local OF_RECORD, THREE = {'at', 'day_ends', 'generation'}, {1, 2, 3}

-- Fails unless each of the names is there and a number. (As fast as it gets: a fourth of what
-- comparing types costs.)
local function check(found, names)
  local sum = 0
  for i = 1, #names do
    sum = sum + found[names[i]]
  end
end

-- What `unpacked` makes of the value of a key; nil where it fails.
local function kept(key, unpacked)
  local is_read, found = pcall(unpacked, value_of(key))
  return is_read and found or nil
end

local function bucket_from(value)
  local bucket = cmsgpack.unpack(value)
  check(bucket, OF_BUCKET)
  check(bucket.admitted, THREE)
  check(bucket.spec, {'window'})
  next(bucket.leases)
  for _, claim in pairs(bucket.claims) do
    check(claim, {'from', 'till'})
    assert(claim.limit)
  end
  for _, meter in ipairs(bucket.meters) do
    check(meter, OF_METER)
    assert(#meter.ring == meter.slots * 4)
    meter.fresh = {}
  end
  return bucket
end

local function record_from(value)
  local took = cmsgpack.unpack(value)
  check(took, {'place'})
  for _, each in ipairs(took) do
    check(each, OF_RECORD)
    check(each.cost, THREE)
    check(each.mark, THREE)
  end
  return took
end

local function spec_of(row)
  local spec, place = {}, 0
  for word in string.gmatch(row, '%S+') do
    place = place + 1
    spec[FIELDS[place]] = tonumber(word) -- "-" is no limit, and no number
  end
  spec.has_day = (spec.rpd or spec.tpd or spec.max_cost_per_day) ~= nil
  return spec
end

local function stated(spec, kind)
  return spec[NAMES[kind + 1]] or INF
end

local function burst_of(spec, kind)
  return (kind == 0 and spec.request_burst or kind > 0 and spec.token_burst) or INF
end

local function meter_of(bucket, kind)
  for _, meter in ipairs(bucket.meters) do
    if meter.kind == kind then
      return meter
    end
  end
  local spec = bucket.spec
  local made = new_meter(kind, stated(spec, kind), burst_of(spec, kind), spec.window, bucket.admitted[1])
  table.insert(bucket.meters, made)
  return made
end

local function tick(bucket, name)
  local at, window = seconds + bucket.ahead, bucket.spec.window
  if at < bucket.at then
    if bucket.at - at > BACK_FOR_GOOD * window then
      bucket.ahead = bucket.ahead + bucket.at - at
      changed[name] = true
    end
    return bucket.at
  end
  bucket.at = at
  local generation = math.floor(at / window)
  if generation ~= bucket.generation then
    bucket.opened_before = generation == bucket.generation + 1 and bucket.open or 0
    bucket.open = 0
    bucket.generation = generation
  end
  return at
end

local function refit(bucket, name, row)
  tick(bucket, name)
  local spec = spec_of(row)
  bucket.row, bucket.spec = row, spec
  changed[name] = true
  for _, meter in ipairs(bucket.meters) do
    local kind = meter.kind
    reshape(meter, stated(spec, kind), burst_of(spec, kind), spec.window, bucket.at)
  end
  for kind = 0, 3 do
    if stated(spec, kind) < INF or (kind == 0 and spec.learns == 1) then
      meter_of(bucket, kind)
    end
  end
end

local function new_bucket()
  return {at = 0, ahead = 0, day_ends = 0, day_requests = 0, day_tokens = 0, day_dollars = 0,
    leases = {}, claims = {}, admitted = {0, 0, 0}, open = 0, opened_before = 0, generation = 0,
    guess_from = INF, guessed_at = INF, guess_mark = 0, meters = {}, row = '',
    spec = {window = 60}}
end

-- The bucket of a name; `row`: its limits as the caller has them, nil for those it had.
local function bucket_of(name, row)
  local bucket = buckets[name]
  if not bucket then
    bucket = kept(SPACE .. 'b:' .. name, bucket_from) or row and new_bucket()
    if not bucket then
      return nil
    end
    buckets[name] = bucket
  end
  if row and bucket.row ~= row then
    refit(bucket, name, row)
  end
  return bucket
end

local function keep_buckets()
  for name in pairs(changed) do
    for _, meter in ipairs(buckets[name].meters) do
      keep_ring(meter)
    end
    redis.call('SET', SPACE .. 'b:' .. name, cmsgpack.pack(buckets[name]), 'PX', BUCKET_MS)
  end
end

local function recover(bucket, at)
  if bucket.guessed_at == INF then
    return
  end
  local meter = meter_of(bucket, 0)
  local peak = bucket.guess_from / GUESS_SHARE
  local windows = (at - bucket.guessed_at) / meter.window
  local guess = bucket.guess_from + GUESS_STEP * peak * windows
  if guess >= GUESS_ENDS * peak then
    guess, bucket.guess_from, bucket.guessed_at = INF, INF, INF
  end
  meter.guess = guess
  rate(meter)
end

local function lease_free_at(bucket, most, at)
  local held, first = 0, INF
  for lease, till in pairs(bucket.leases) do
    if till <= at then
      bucket.leases[lease] = nil
    else
      held = held + 1
      first = math.min(first, till)
    end
  end
  return held >= most and first or at
end

local function amount_of(cost, kind)
  if kind < 2 then
    return kind == 0 and 1 or cost[1] + cost[2]
  end
  return cost[kind - 1]
end

-- Seconds until a request of `cost` may go (0: at once), and the limit it waits for.
local function wait_for(bucket, name, cost)
  local at, spec = tick(bucket, name), bucket.spec
  recover(bucket, at)
  local free, limit = at, nil
  local function due(till, which)
    if till > free or (till == free and limit and which > limit) then
      free, limit = till, which
    end
  end
  local function due_of_day(most, used, amount, which)
    if most and used + amount > most then
      due(amount > most and INF or bucket.day_ends + bucket.ahead, which)
    end
  end
  for _, meter in ipairs(bucket.meters) do
    due(free_at(meter, amount_of(cost, meter.kind), at), NAMES[meter.kind + 1])
  end
  if spec.has_day then
    due_of_day(spec.rpd, bucket.day_requests, 1, 'rpd')
    due_of_day(spec.tpd, bucket.day_tokens, amount_of(cost, 1), 'tpd')
    due_of_day(spec.max_cost_per_day, bucket.day_dollars, cost[3], 'max_cost_per_day')
  end
  if spec.max_concurrency then
    due(lease_free_at(bucket, spec.max_concurrency, at), 'max_concurrency')
  end
  return free > at and free - bucket.ahead - seconds + ROUNDING or 0, limit
end

local function reserve(bucket, name, lease, cost)
  local at = tick(bucket, name)
  for _, meter in ipairs(bucket.meters) do
    take(meter, amount_of(cost, meter.kind), at)
  end
  if bucket.spec.has_day then
    bucket.day_requests = bucket.day_requests + 1
    bucket.day_tokens = bucket.day_tokens + amount_of(cost, 1)
    bucket.day_dollars = bucket.day_dollars + cost[3]
  end
  if bucket.spec.max_concurrency then
    bucket.leases[lease] = at + LEASE_S
  end
  bucket.open = bucket.open + 1
  local before = bucket.admitted
  bucket.admitted = {before[1] + 1, before[2] + cost[1], before[3] + cost[2]}
  changed[name] = true
  return {name = name, at = at, cost = cost, mark = bucket.admitted,
    day_ends = bucket.spec.has_day and bucket.day_ends or -1, generation = bucket.generation}
end

-- `day`: seconds until the next two ends of the provider's day, as the caller has them.
local function turn_day(bucket, name, day)
  local first, second = string.match(day, '^(%S+) (%S+)$')
  first, second = tonumber(first), tonumber(second)
  if seconds < bucket.day_ends and bucket.day_ends <= seconds + second then
    return
  end
  local coming = first > 0 and first or second
  if coming <= 0 then
    coming = coming + math.ceil(-coming / DAY + ROUNDING) * DAY
  end
  if seconds >= bucket.day_ends then
    bucket.day_requests, bucket.day_tokens, bucket.day_dollars = 0, 0, 0
  end
  bucket.day_ends = seconds + coming
  changed[name] = true
end

local function size(found)
  local count = 0
  for _ in pairs(found) do
    count = count + 1
  end
  return count
end

-- Every limit that holds: {name, limit, taken, "1" if no configuration says so}.
local function rooms_of(bucket, name)
  local at, spec, found = tick(bucket, name), bucket.spec, {}
  recover(bucket, at)
  for _, meter in ipairs(bucket.meters) do
    local limit = NAMES[meter.kind + 1]
    if meter.limit < INF then
      local is_learned = meter.limit < (spec[limit] or INF)
      found[#found + 1] = {limit, meter.limit, taken(meter, at), is_learned}
    end
  end
  lease_free_at(bucket, 0, at)
  for _, each in ipairs({{'rpd', bucket.day_requests}, {'tpd', bucket.day_tokens},
      {'max_cost_per_day', bucket.day_dollars}, {'max_concurrency', size(bucket.leases)}}) do
    if spec[each[1]] then
      found[#found + 1] = {each[1], spec[each[1]], each[2], false}
    end
  end
  local told = {}
  for i, room in ipairs(found) do
    told[i] = {room[1], decimal(room[2]), decimal(room[3]), room[4] and 1 or 0}
  end
  return told
end

local function keep_taken(lease, took)
  local ms = took.is_settled and SETTLED_MS or RECORD_MS
  redis.call('SET', SPACE .. 'l:' .. lease, cmsgpack.pack(took), 'PX', ms)
end

local function taken_by(lease)
  return kept(SPACE .. 'l:' .. lease, record_from)
end
