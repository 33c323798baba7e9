package slacksim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Slack's limits on messages, views and blocks.
// See https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/reference/views/modal-views.
const (
	maxMessageBlocks   = 50
	maxViewBlocks      = 100
	maxViewBytes       = 250_000
	maxID              = 255
	maxSectionText     = 3000
	maxFields          = 10
	maxFieldText       = 2000
	maxHeaderText      = 150
	maxContextElements = 10
	maxActionsElements = 25
	maxButtonText      = 75
	maxButtonValue     = 2000
	maxURL             = 3000
	maxLabel           = 2000
	maxOptions         = 100
	minOverflow        = 2
	maxOverflow        = 5
	maxCheckboxes      = 10
	maxOptionText      = 75
	maxOptionValue     = 150
	maxPlaceholder     = 150
	maxConfirmTitle    = 100
	maxConfirmText     = 300
	maxConfirmButton   = 30
	maxViewTitle       = 24
	maxPrivateMetadata = 3000
	maxPlainTextInput  = 3000
)

// checker collects what is wrong with blocks, in the words and with the pointers of Slack.
type checker struct {
	view     bool
	blockIDs map[string]bool
	problems []string
}

// checkMessageBlocks checks and completes the blocks of a message: an array, or JSON text of one, or nothing.
func (s *Server) checkMessageBlocks(v any) ([]Block, error) {
	items, err := blockList(v)
	if err != nil {
		return nil, err
	}
	c := checker{blockIDs: map[string]bool{}}
	blocks := c.blocks("/blocks", items, maxMessageBlocks, s)
	if len(c.problems) > 0 {
		return nil, &apiError{code: "invalid_blocks", messages: c.problems}
	}
	return blocks, nil
}

// blockList returns a fresh list, which the caller may complete.
func blockList(v any) ([]any, error) {
	text, ok := v.(string)
	if !ok && v != nil {
		text = string(toJSON(v))
	}
	if text == "" {
		return nil, nil
	}
	var items []any
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return nil, &apiError{code: "invalid_blocks_format"}
	}
	return items, nil
}

func (c *checker) problem(pointer, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf("[ERROR] "+format+" [json-pointer:%s]", append(args, pointer)...))
}

// length refuses strings over limit. Slack counts characters after it has escaped & < and >.
func (c *checker) length(pointer, s string, limit int) {
	if escapedLength(s, false) > limit {
		c.problem(pointer, "must be less than %d characters", limit+1)
	}
}

// entity matches what Slack takes for an escape that is already there.
var entity = regexp.MustCompile(`&(amp|lt|gt);`)

func escapedLength(s string, mrkdwn bool) int {
	n := utf8.RuneCountInString(s) + 4*(strings.Count(s, "&")-len(entity.FindAllString(s, -1)))
	if !mrkdwn {
		n += 3 * (strings.Count(s, "<") + strings.Count(s, ">"))
	}
	return n
}

// optional checks the length of a string that may be missing.
func (c *checker) optional(pointer string, b Block, key string, limit int) {
	v, present := b[key]
	if !present || v == nil {
		return
	}
	s, ok := v.(string)
	if !ok {
		c.problem(pointer+"/"+key, "must be a string")
		return
	}
	c.length(pointer+"/"+key, s, limit)
}

// text checks a text object, which must be there.
// See https://docs.slack.dev/reference/block-kit/composition-objects/text-object.
func (c *checker) text(pointer string, b Block, key string, limit int, plainOnly bool) {
	object := b.object(key)
	if object == nil {
		c.problem(pointer, "missing required field: %s", key)
		return
	}
	c.textObject(pointer+"/"+key, object, limit, plainOnly)
}

func (c *checker) textObject(pointer string, object Block, limit int, plainOnly bool) {
	kind := object.str("type")
	if kind != "plain_text" && (kind != "mrkdwn" || plainOnly) {
		c.problem(pointer+"/type", "unsupported type: %s", kind)
		return
	}
	if _, ok := object["verbatim"]; ok && kind == "plain_text" {
		c.problem(pointer, "no more than 3 properties allowed: verbatim")
	}
	text, ok := object["text"].(string)
	switch {
	case !ok:
		c.problem(pointer, "missing required field: text")
	case text == "":
		c.problem(pointer+"/text", "must be more than 0 characters")
	case escapedLength(text, kind == "mrkdwn") > limit:
		c.problem(pointer+"/text", "must be less than %d characters", limit+1)
	}
}

func (c *checker) optionalText(pointer string, b Block, key string, limit int) {
	if v, present := b[key]; present && v != nil {
		c.text(pointer, b, key, limit, true)
	}
}

// elements checks the number of items under key and returns them.
func (c *checker) elements(pointer string, b Block, key string, limit int) []Block {
	items, ok := b[key].([]any)
	if !ok || len(items) == 0 {
		c.problem(pointer, "missing required field: %s", key)
		return nil
	}
	if len(items) > limit {
		c.problem(pointer+"/"+key, "no more than %d items allowed", limit)
		return nil
	}
	return b.list(key)
}

func (c *checker) blocks(pointer string, items []any, limit int, s *Server) []Block {
	if len(items) > limit {
		c.problem(pointer, "no more than %d items allowed", limit)
		return nil
	}
	blocks := make([]Block, 0, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s/%d", pointer, i)
		m, ok := item.(map[string]any)
		if !ok {
			c.problem(at, "must be an object")
			continue
		}
		b := Block(m)
		c.block(at, b)
		if id := b.str("block_id"); id == "" {
			b["block_id"] = s.newBlockID()
		} else if c.blockIDs[id] {
			c.problem(at+"/block_id", "`block_id` already exists: %s", id)
		} else {
			c.blockIDs[id] = true
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// newBlockID returns an ID for a block or action that came without. The caller holds mu.
func (s *Server) newBlockID() string {
	s.lastID++
	return fmt.Sprintf("b%04x", s.lastID)
}

func (c *checker) block(at string, b Block) {
	c.optional(at, b, "block_id", maxID)
	switch kind := b.str("type"); kind {
	case "divider":
	case "section":
		c.section(at, b)
	case "header":
		c.text(at, b, "text", maxHeaderText, true)
	case "context":
		for i, e := range c.elements(at, b, "elements", maxContextElements) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if e.str("type") == "image" {
				c.image(at, e)
			} else {
				c.textObject(at, e, maxSectionText, false)
			}
		}
	case "actions":
		ids := map[string]bool{}
		for i, e := range c.elements(at, b, "elements", maxActionsElements) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			c.element(at, e, kind)
			c.actionID(at, e, ids, i)
		}
	case "image":
		c.image(at, b)
		c.optionalText(at, b, "title", maxFieldText)
	case "input":
		if !c.view {
			c.problem(at+"/type", "unsupported type: %s", kind)
			return
		}
		c.text(at, b, "label", maxLabel, true)
		c.optionalText(at, b, "hint", maxLabel)
		if e := b.object("element"); e == nil {
			c.problem(at, "missing required field: element")
		} else {
			c.element(at+"/element", e, kind)
			c.actionID(at+"/element", e, map[string]bool{}, 0)
		}
	case "rich_text":
		for i, e := range c.elements(at, b, "elements", 1000) {
			c.richText(fmt.Sprintf("%s/elements/%d", at, i), e)
		}
	case "":
		c.problem(at, "missing required field: type")
	default:
		c.problem(at+"/type", "unsupported type: %s", kind)
	}
}

func (c *checker) actionID(at string, e Block, ids map[string]bool, i int) {
	id := e.str("action_id")
	switch {
	case e == nil:
	case id == "":
		e["action_id"] = fmt.Sprintf("action%d", i)
	case ids[id]:
		c.problem(at+"/action_id", "`action_id` already exists: %s", id)
	}
	ids[id] = true
}

func (c *checker) section(at string, b Block) {
	_, fields := b["fields"]
	if _, text := b["text"]; text || !fields {
		c.text(at, b, "text", maxSectionText, false)
	}
	if fields {
		for i, f := range c.elements(at, b, "fields", maxFields) {
			c.textObject(fmt.Sprintf("%s/fields/%d", at, i), f, maxFieldText, false)
		}
	}
	if accessory := b.object("accessory"); accessory != nil {
		if accessory.str("type") == "image" {
			c.image(at+"/accessory", accessory)
		} else {
			c.element(at+"/accessory", accessory, "section")
			c.actionID(at+"/accessory", accessory, map[string]bool{}, 0)
		}
	}
}

func (c *checker) image(at string, b Block) {
	if b.str("image_url") == "" {
		c.problem(at, "missing required field: image_url")
	}
	if b.str("alt_text") == "" {
		c.problem(at, "missing required field: alt_text")
	}
	c.optional(at, b, "image_url", maxURL)
	c.optional(at, b, "alt_text", maxFieldText)
}

// richText checks an element of a rich_text block.
// See https://docs.slack.dev/reference/block-kit/blocks/rich-text-block.
func (c *checker) richText(at string, e Block) {
	switch kind := e.str("type"); kind {
	case "rich_text_section", "rich_text_quote", "rich_text_preformatted":
		if _, ok := e["elements"].([]any); !ok {
			c.problem(at, "missing required field: elements")
		}
		for i, part := range e.list("elements") {
			c.richTextPart(fmt.Sprintf("%s/elements/%d", at, i), part)
		}
	case "rich_text_list":
		if style := e.str("style"); style != "bullet" && style != "ordered" {
			c.problem(at+"/style", "must be one of the allowed values: bullet, ordered")
		}
		for i, item := range c.elements(at, e, "elements", 1000) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if item.str("type") != "rich_text_section" {
				c.problem(at+"/type", "unsupported type: %s", item.str("type"))
				continue
			}
			c.richText(at, item)
		}
	default:
		c.problem(at+"/type", "unsupported type: %s", kind)
	}
}

func (c *checker) richTextPart(at string, e Block) {
	need := func(key string) {
		if e.str(key) == "" {
			c.problem(at, "missing required field: %s", key)
		}
	}
	switch kind := e.str("type"); kind {
	case "text":
		if text, ok := e["text"].(string); ok && text == "" {
			c.problem(at+"/text", "must be more than 0 characters")
		}
		need("text")
	case "user":
		need("user_id")
	case "usergroup":
		need("usergroup_id")
	case "channel":
		need("channel_id")
	case "link":
		need("url")
	case "emoji":
		need("name")
	case "color":
		need("value")
	case "broadcast":
		if r := e.str("range"); r != "here" && r != "channel" && r != "everyone" {
			c.problem(at+"/range", "must be one of the allowed values: here, channel, everyone")
		}
	case "date":
		if n, ok := e["timestamp"].(float64); !ok || n != float64(int64(n)) {
			c.problem(at+"/timestamp", "must be an integer")
		}
		need("format")
	default:
		c.problem(at+"/type", "unsupported type: %s", kind)
	}
}
