-- What became of leases: corrects what they took of their buckets, hears what answers say of
-- limits, keeps the slots of those still held. `observe` and `learn` are core/learned.py's.
-- ARGV: six words each: what, lease id, then
--   "settle": input, output, dollars used ("-": nothing was sent, all is given back);
--   "renew": nothing more;
--   "told": bucket, its limits, readings "kind remaining limit reset;..." ("-": not said);
--   "refused": bucket, its limits.
-- Reply: now, epoch, count before, count after, names of buckets in which there is room for
-- those that were turned away.
local LONGEST_RESET, LARGEST, LATE_RESET, SLIDING, FEWEST_TO_GUESS = 90000, 1e15, 1.1, 0.9, 10
local WORDS = 6
local epoch, before = life(value_of(KEYS[1]), value_of(KEYS[2]))
local count = before
local roomy = {}

local function settle_one(bucket, took, used)
  local at, cost, requests = tick(bucket, took.name), took.cost, 0
  if not used then
    requests, used = -1, {0, 0, 0}
  end
  local input, output = used[1] - cost[1], used[2] - cost[2]
  local more = {requests, input + output, input, output}
  for _, meter in ipairs(bucket.meters) do
    if more[meter.kind + 1] ~= 0 and took.mark[1] > meter.since then
      correct(meter, more[meter.kind + 1], took.at, at)
    end
  end
  if took.day_ends == bucket.day_ends then
    bucket.day_requests = bucket.day_requests + requests
    bucket.day_tokens = bucket.day_tokens + more[2]
    bucket.day_dollars = bucket.day_dollars + (used[3] - cost[3])
  end
  if took.generation == bucket.generation then
    bucket.open = bucket.open - 1
  elseif took.generation == bucket.generation - 1 then
    bucket.opened_before = bucket.opened_before - 1
  end
  changed[took.name] = true
  return requests < 0 or input < 0 or output < 0
end

local function settle(lease, took, used)
  for _, each in ipairs(took) do
    local bucket = bucket_of(each.name)
    if bucket then
      local gives = settle_one(bucket, each, used)
      bucket.leases[lease] = nil
      if bucket.is_wanted and (gives or bucket.spec.max_concurrency) then
        bucket.is_wanted = nil
        count = tell(count, 'room|' .. each.name)
        roomy[#roomy + 1] = each.name
      end
    end
  end
  took.is_settled = true
  keep_taken(lease, took)
end

local function renew(lease, took)
  for _, each in ipairs(took) do
    local bucket = bucket_of(each.name)
    if bucket and (bucket.spec.max_concurrency or bucket.leases[lease]) then
      bucket.leases[lease] = tick(bucket, each.name) + LEASE_S
      changed[each.name] = true
    end
  end
  keep_taken(lease, took)
end

-- What the lease took of the bucket; of one that it did not count in, nothing, now.
local function taken_of(took, bucket, name)
  for _, each in ipairs(took or {}) do
    if each.name == name then
      return {mark = each.mark, at = each.at, generation = each.generation,
        is_settled = took.is_settled}
    end
  end
  local at = tick(bucket, name)
  return {mark = bucket.admitted, at = at, generation = bucket.generation, is_settled = true}
end

local function on_their_way(bucket, took, kind)
  local requests = bucket.admitted[1] - took.mark[1]
  if requests == 0 then
    return 0
  end
  local input, output = bucket.admitted[2] - took.mark[2], bucket.admitted[3] - took.mark[3]
  local is_open = not took.is_settled and took.generation >= bucket.generation - 1
  local unanswered = math.min(requests, bucket.open + bucket.opened_before - (is_open and 1 or 0))
  return unanswered / requests * ({requests, input + output, input, output})[kind + 1]
end

local function lower(meter, left, till, at)
  if meter.left_until > at then
    local ours, theirs = math.max(meter.left, 0), math.max(left, 0)
    if theirs > ours then
      return
    end
    if theirs == ours then
      left, till = math.min(left, meter.left), math.max(till, meter.left_until)
    end
  end
  meter.left, meter.left_until = left, till
end

local function observe(bucket, name, took, readings)
  local at = tick(bucket, name)
  for kind, remaining, limit, reset in string.gmatch(readings, '([^%s;]+) (%S+) (%S+) ([^%s;]+)') do
    remaining, limit = tonumber(remaining), tonumber(limit)
    reset = reset == '-' and bucket.spec.window or tonumber(reset)
    if reset and 0 <= reset and reset <= LONGEST_RESET then
      local meter = meter_of(bucket, tonumber(kind))
      local is_per_window = reset <= LATE_RESET * meter.window
      if limit and 1 <= limit and limit < LARGEST and is_per_window then
        meter.told = limit
        rate(meter)
      end
      if remaining and 0 <= remaining and remaining < LARGEST then
        local left = remaining - on_their_way(bucket, took, meter.kind)
        if is_per_window and reset >= SLIDING * meter.window and meter.limit < INF then
          local seconds = at - took.at + 1 / meter.per_second
          note_left(meter, left + seconds / meter.pace, at)
        else
          lower(meter, left, at + reset, at)
        end
      end
    end
  end
end

local function learn(bucket, name, took)
  local spec = bucket.spec
  if spec.learns ~= 1 or spec.rpm or took.mark[1] <= bucket.guess_mark then
    return
  end
  local at = tick(bucket, name)
  recover(bucket, at)
  local meter = meter_of(bucket, 0)
  local went = math.min(taken(meter, at), meter.guess)
  if went < FEWEST_TO_GUESS or meter.told < INF then
    return
  end
  bucket.guess_from, bucket.guessed_at = GUESS_SHARE * went, at
  bucket.guess_mark = bucket.admitted[1]
  recover(bucket, at)
end

for at = 1, #ARGV, WORDS do
  local what, lease = ARGV[at], ARGV[at + 1]
  local took = taken_by(lease)
  if what == 'told' or what == 'refused' then
    local name = ARGV[at + 2]
    local bucket = bucket_of(name, ARGV[at + 3])
    local about = taken_of(took, bucket, name)
    changed[name] = true
    if not bucket.is_told then -- the others have to count in it from now on
      bucket.is_told = true
      count = tell(count, 'room|' .. name)
    end
    if what == 'told' then
      observe(bucket, name, about, ARGV[at + 4])
    else
      learn(bucket, name, about)
    end
  elseif not took and what == 'settle' and ARGV[at + 2] == '-' then
    -- Given back before it was asked for: a server that hung hears the request later.
    keep_taken(lease, {place = GIVEN_BACK, is_settled = true})
  elseif took and not took.is_settled then
    if what == 'renew' then
      renew(lease, took)
    else
      local used = ARGV[at + 2] ~= '-'
        and {tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])}
      settle(lease, took, used)
    end
  end
end
keep_buckets()
if count > before then
  keep_count(count)
end
return {whole(now), epoch, whole(before), whole(count), roomy}
