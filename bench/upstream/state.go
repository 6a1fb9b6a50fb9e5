package main

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
)

// The functions of providers/supabase/schema.ts over a map, without expiry: a run takes minutes.
type entry struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Version int    `json:"version"`
}

type stateArgs struct {
	Node     string   `json:"p_node"`
	Key      string   `json:"p_key"`
	Value    string   `json:"p_value"`
	Expected int      `json:"p_expected"`
	Log      string   `json:"p_log"`
	Values   []string `json:"p_values"`
	Prefix   string   `json:"p_prefix"`
	After    string   `json:"p_after"`
	Limit    int      `json:"p_limit"`
}

var (
	stateLock sync.Mutex
	entries   = map[string]entry{}
	sequences = map[string]int{}
)

func stateCall(method string, body []byte) []byte {
	var args stateArgs
	if err := json.Unmarshal(body, &args); err != nil {
		return nil
	}
	stateLock.Lock()
	defer stateLock.Unlock()
	answer, _ := json.Marshal(stateAnswer(method, args))
	return answer
}

func stateAnswer(method string, args stateArgs) any {
	current, found := entries[args.Node+" "+args.Key]
	switch method {
	case "get":
		if !found {
			return nil
		}
		return current
	case "cas":
		if current.Version != args.Expected {
			return nil
		}
		fallthrough
	case "put":
		entries[args.Node+" "+args.Key] = entry{args.Key, args.Value, current.Version + 1}
		return current.Version + 1
	case "append":
		return appendTo(args.Node, args.Log, args.Value)
	case "append_all":
		first := 0
		for _, value := range args.Values {
			sequence := appendTo(args.Node, args.Log, value)
			if first == 0 {
				first = sequence
			}
		}
		return first
	case "list":
		page := []entry{}
		for name, found := range entries {
			if strings.HasPrefix(name, args.Node+" "+args.Prefix) && found.Key > args.After {
				page = append(page, found)
			}
		}
		sort.Slice(page, func(a, b int) bool { return page[a].Key < page[b].Key })
		more := len(page) > args.Limit
		return map[string]any{"entries": page[:min(len(page), args.Limit)], "more": more}
	}
	return nil
}

func appendTo(node, log, value string) int {
	sequences[node+" "+log]++
	sequence := sequences[node+" "+log]
	key := fmt.Sprintf("%s/%016d", log, sequence)
	entries[node+" "+key] = entry{key, value, 1}
	return sequence
}
