-- Answers many requests in one step, each with the first of its candidates that may go.
-- ARGV: 1 epoch and 2 count as the caller knows them, 3 lease ms, 4 the prefix of states,
-- 5 number of candidates, 6 number of lists, then
--   per candidate "flag subject# subject# ..." ("-": it may not go for reasons of its own),
--   per list "candidate# candidate# ...", per request "lease_id list#".
-- Reply: now, epoch, count, news {subject, state, ...}, per request {place in its list,
-- version or versiont (a trial) of each subject} or 0, per candidate {subject#, ms, 1 if a
-- trial} or 0.
local values = redis.call('MGET', unpack(KEYS))
local epoch = epoch_of(values[1])
local count = tonumber(values[1] and values[2] or 0)

local function news(since)
  local found = {}
  local subjects = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. since, '+inf')
  for first = 1, #subjects, 1000 do
    local names = {}
    for i = first, math.min(first + 999, #subjects) do
      names[#names + 1] = ARGV[4] .. subjects[i]
    end
    for i, value in ipairs(redis.call('MGET', unpack(names))) do
      local subject = subjects[first + i - 1]
      if not value then
        redis.call('ZREM', KEYS[3], subject)
      end
      found[#found + 1] = subject
      found[#found + 1] = value or ''
    end
  end
  return found
end

local heard = {}
local since = ARGV[1] == epoch and tonumber(ARGV[2]) or 0
if count > since then
  heard = news(since)
end

local candidates, lists = {}, {}
local row = 6
for i = 1, tonumber(ARGV[5]) do
  local words = {}
  for word in string.gmatch(ARGV[row + i], '%S+') do
    words[#words + 1] = word
  end
  candidates[i] = {is_barred = words[1] == '-', subjects = words}
end
row = row + #candidates
for i = 1, tonumber(ARGV[6]) do
  local list = {}
  for word in string.gmatch(ARGV[row + i], '%d+') do
    list[#list + 1] = candidates[tonumber(word)]
  end
  lists[i] = list
end
row = row + #lists

local states, touched = {}, {}
local function state_of(number)
  local state = states[number]
  if state == nil then
    local value = values[3 + number]
    state = value and read(value) or false
    states[number] = state
  end
  return state
end

-- The subject that keeps a candidate back longest, until when, and whether by a trial.
local function barrier(candidate, lease)
  local worst, till, is_trial = nil, now, false
  for i = 2, #candidate.subjects do
    local number = tonumber(candidate.subjects[i])
    local state = state_of(number)
    if state and state.kind ~= 'A' then
      local rests = state.kind ~= 'P' and state.till > now
      local ends = rests and state.till
        or (state.trial ~= '' and state.trial ~= lease and state.trial_till or 0)
      if ends > till then
        worst, till, is_trial = number, ends, not rests
      end
    end
  end
  return worst, till, is_trial
end

local function holds(candidate, lease)
  for i = 2, #candidate.subjects do
    local state = state_of(tonumber(candidate.subjects[i]))
    if state and state.trial == lease then
      return true
    end
  end
  return false
end

local function lend(candidate, lease, place)
  local granted = {place}
  for i = 2, #candidate.subjects do
    local number = tonumber(candidate.subjects[i])
    local state = state_of(number)
    if not state then
      granted[i] = '0'
    elseif state.kind == 'A' then
      granted[i] = whole(state.version)
    else
      granted[i] = whole(state.version) .. 't'
      state.trial, state.trial_till = lease, now + tonumber(ARGV[3])
      touched[number] = true
    end
  end
  return granted
end

local function answer(lease, list)
  for place, candidate in ipairs(list) do
    if holds(candidate, lease) then -- asked before, the answer was lost
      return lend(candidate, lease, place)
    end
  end
  for place, candidate in ipairs(list) do
    if not candidate.is_barred and not barrier(candidate, lease) then
      return lend(candidate, lease, place)
    end
  end
  for _, candidate in ipairs(list) do
    candidate.is_asked = true
  end
  return 0
end

local answers = {}
for i = row + 1, #ARGV do
  local lease, number = string.match(ARGV[i], '^(%S+) (%d+)$')
  answers[#answers + 1] = answer(lease, lists[tonumber(number)])
end

for number in pairs(touched) do
  redis.call('SET', KEYS[3 + number], written(states[number]), 'KEEPTTL')
end

local barriers = {}
for i, candidate in ipairs(candidates) do
  barriers[i] = 0
  if candidate.is_asked then
    local worst, till, is_trial = barrier(candidate, '')
    if worst then
      barriers[i] = {worst, whole(till - now), is_trial and 1 or 0}
    end
  end
end
return {whole(now), epoch, whole(count), heard, answers, barriers}
