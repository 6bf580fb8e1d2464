# ruff: noqa: RUF001 - Chinese has its own punctuation
"""
The sentences replies are made of, per language, and how to tell which language a prompt asks for.

`{topic}` and `{kind}` are the prompt's own words; `{a}`, `{b}` and `{c}` are single words of the language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from faker import Faker


@dataclass(frozen=True)
class Language:
    """
    Sentences of a language. `joiner` stands between them.

    Args:
        locale: Faker's name of the language, whose words are used.
        names: What prompts call it.
        words: Words to use in their place, where Faker has none.
        common: Short words its sentences can hardly do without and the other languages have not.
    """

    locale: str
    names: tuple[str, ...]
    openings: tuple[str, ...]
    sentences: tuple[str, ...]
    joiner: str = " "
    words: str = ""
    common: str = ""


LANGUAGES = {
    "en": Language(
        "en_US",
        ("English",),
        (
            "Anyone who opens this {kind} wants to know what {topic} means in practice.",
            "{topic} is rarely explained without the word {a}.",
            "The story of {topic} begins with a {a} and a {b}.",
        ),
        (
            "Most people meet {topic} for the first time through {a} and {b}.",
            "What matters here is not the {a} itself but the {b} behind it.",
            "In the early years nobody spoke of {a}; today it belongs to every {kind}.",
            "A team that plans for {a} and {b} will find the {c} much easier.",
            "Consider a simple case: one {a}, one {b}, and no {c} at all.",
            "The numbers tell a different story once {a} is taken into account.",
            "Between {a} and {b} lies the part that experience alone can teach.",
            "This is why every {kind} about {topic} returns to the question of {a}.",
            "Without {a}, the {b} would lose its meaning within a few days.",
            "Engineers like to say that {topic} forgives a bad {a} but never a bad {b}.",
            "It took years before {a} and {b} were seen as two sides of one thing.",
            "Whoever has worked with {topic} knows how quickly {a} turns into {b}.",
        ),
        common="the of and about with write",
    ),
    "fr": Language(
        "fr_FR",
        ("French", "français", "francais", "française"),
        (
            "Ce texte montre ce que {topic} veut dire au quotidien.",
            "On parle rarement de {topic} sans prononcer le mot {a}.",
            "L'histoire de {topic} commence avec {a} et {b}.",
        ),
        (
            "La plupart des gens découvrent {topic} par {a} et {b}.",
            "L'essentiel n'est pas {a}, mais ce qui se cache derrière {b}.",
            "Autrefois, personne ne parlait de {a} ; aujourd'hui, tout le monde y pense.",
            "Une équipe qui prévoit {a} et {b} trouvera {c} bien plus facile.",
            "Prenons un cas simple : {a}, {b}, et rien de {c}.",
            "Les chiffres racontent autre chose dès que l'on tient compte de {a}.",
            "Entre {a} et {b} se trouve ce que seule l'expérience enseigne.",
            "Voilà pourquoi chaque ouvrage sur {topic} revient à la question de {a}.",
            "Sans {a}, le mot {b} perdrait son sens en quelques jours.",
            "Ceux qui connaissent {topic} savent combien {a} ressemble à {b}.",
        ),
        common="le les une des et sur écris rédige pour avec dans",
    ),
    "de": Language(
        "de_DE",
        ("German", "Deutsch", "deutscher Sprache"),
        (
            "Dieser Text zeigt, was {topic} im Alltag bedeutet.",
            "Über {topic} wird selten gesprochen, ohne dass das Wort {a} fällt.",
            "Die Geschichte von {topic} beginnt mit {a} und {b}.",
        ),
        (
            "Die meisten Menschen begegnen {topic} zuerst durch {a} und {b}.",
            "Entscheidend ist nicht {a}, sondern das, was hinter {b} steht.",
            "Früher sprach niemand von {a}; heute gehört es einfach dazu.",
            "Wer {a} und {b} rechtzeitig plant, hat es mit {c} viel leichter.",
            "Nehmen wir einen einfachen Fall: {a}, {b} und kein bisschen {c}.",
            "Die Zahlen sehen anders aus, sobald man {a} berücksichtigt.",
            "Zwischen {a} und {b} liegt das, was nur die Erfahrung lehrt.",
            "Deshalb kehrt jedes Werk über {topic} zur Frage nach {a} zurück.",
            "Ohne {a} verlöre das Wort {b} in wenigen Tagen seinen Sinn.",
            "Wer mit {topic} gearbeitet hat, weiß, wie schnell aus {a} {b} wird.",
        ),
        common="der die das und ein eine über mit für schreibe",
    ),
    "es": Language(
        "es_ES",
        ("Spanish", "español", "espanol", "castellano"),
        (
            "Este texto muestra lo que {topic} significa en la práctica.",
            "Rara vez se habla de {topic} sin mencionar la palabra {a}.",
            "La historia de {topic} comienza con {a} y {b}.",
        ),
        (
            "La mayoría descubre {topic} a través de {a} y {b}.",
            "Lo importante no es {a}, sino lo que hay detrás de {b}.",
            "Antes nadie hablaba de {a}; hoy forma parte de todo.",
            "Un equipo que prevé {a} y {b} encontrará {c} mucho más fácil.",
            "Pensemos en un caso sencillo: {a}, {b} y nada de {c}.",
            "Las cifras cuentan otra cosa cuando se tiene en cuenta {a}.",
            "Entre {a} y {b} está lo que solo enseña la experiencia.",
            "Por eso cada obra sobre {topic} vuelve a la cuestión de {a}.",
            "Sin {a}, la palabra {b} perdería su sentido en pocos días.",
            "Quien ha trabajado con {topic} sabe lo rápido que {a} se convierte en {b}.",
        ),
        common="el los las una y sobre con escribe para texto",
    ),
    "it": Language(
        "it_IT",
        ("Italian", "italiano", "italiana"),
        (
            "Questo testo mostra che cosa significa {topic} nella pratica.",
            "Di rado si parla di {topic} senza usare la parola {a}.",
            "La storia di {topic} comincia con {a} e {b}.",
        ),
        (
            "Quasi tutti scoprono {topic} attraverso {a} e {b}.",
            "Ciò che conta non è {a}, ma quello che sta dietro a {b}.",
            "Un tempo nessuno parlava di {a}; oggi fa parte di tutto.",
            "Chi prevede {a} e {b} troverà {c} molto più facile.",
            "Prendiamo un caso semplice: {a}, {b} e niente {c}.",
            "I numeri dicono altro appena si tiene conto di {a}.",
            "Tra {a} e {b} si trova ciò che solo l'esperienza insegna.",
            "Per questo ogni opera su {topic} ritorna alla questione di {a}.",
            "Senza {a}, la parola {b} perderebbe senso in pochi giorni.",
            "Chi ha lavorato con {topic} sa quanto in fretta {a} diventa {b}.",
        ),
        common="il gli di che scrivi una sulla sul testo con per della",
    ),
    "pt": Language(
        "pt_PT",
        ("Portuguese", "português", "portugues", "portuguesa"),
        (
            "Este texto mostra o que {topic} significa na prática.",
            "Raramente se fala de {topic} sem usar a palavra {a}.",
            "A história de {topic} começa com {a} e {b}.",
        ),
        (
            "A maioria das pessoas descobre {topic} através de {a} e {b}.",
            "O que importa não é {a}, mas o que está por trás de {b}.",
            "Antes ninguém falava de {a}; hoje faz parte de tudo.",
            "Uma equipa que prevê {a} e {b} achará {c} muito mais fácil.",
            "Pensemos num caso simples: {a}, {b} e nada de {c}.",
            "Os números contam outra coisa quando se tem em conta {a}.",
            "Entre {a} e {b} está o que só a experiência ensina.",
            "Por isso cada obra sobre {topic} volta à questão de {a}.",
            "Sem {a}, a palavra {b} perderia o sentido em poucos dias.",
            "Quem trabalhou com {topic} sabe como {a} depressa se torna {b}.",
        ),
        # Faker's words for Portuguese are Latin.
        words="tempo trabalho casa mundo cidade água terra noite manhã caminho ponte luz sombra vento chuva pedra"
        " árvore folha raiz semente campo estrada viagem porta janela mesa livro carta palavra frase história"
        " memória sonho medo coragem força saúde corpo braço olhar silêncio música canção festa jogo escola"
        " aula professor aluno pergunta resposta prova ensaio medida número conta preço moeda mercado loja"
        " fábrica máquina motor ferro vidro madeira papel tinta cor forma linha círculo centro margem rio mar"
        " porto navio ilha praia montanha vale floresta animal pássaro peixe cavalo gato família filho irmão"
        " vizinho amigo viajante médico engenheiro pescador padeiro juiz lei regra governo empresa projeto"
        " plano método erro acaso sorte mudança futuro passado inverno verão outono primavera semana instante"
        " começo limite espaço silhueta energia calor frio peso",
        common="o os uma e sobre com escreva escreve para texto do da um",
    ),
    "nl": Language(
        "nl_NL",
        ("Dutch", "Nederlands"),
        (
            "Deze tekst laat zien wat {topic} in de praktijk betekent.",
            "Over {topic} wordt zelden gesproken zonder het woord {a}.",
            "Het verhaal van {topic} begint met {a} en {b}.",
        ),
        (
            "De meeste mensen leren {topic} kennen door {a} en {b}.",
            "Het gaat niet om {a}, maar om wat er achter {b} zit.",
            "Vroeger sprak niemand over {a}; nu hoort het er gewoon bij.",
            "Wie {a} en {b} op tijd plant, heeft het met {c} veel makkelijker.",
            "Neem een eenvoudig geval: {a}, {b} en helemaal geen {c}.",
            "De cijfers zien er anders uit zodra je {a} meetelt.",
            "Tussen {a} en {b} ligt wat alleen ervaring je leert.",
            "Daarom keert elk werk over {topic} terug naar de vraag van {a}.",
            "Zonder {a} zou het woord {b} binnen enkele dagen niets meer betekenen.",
            "Wie met {topic} heeft gewerkt, weet hoe snel {a} in {b} verandert.",
        ),
        common="het een en over met schrijf voor van tekst",
    ),
    "ja": Language(
        "ja_JP",
        ("Japanese", "日本語"),
        (
            "この文章では、{topic}が実際に何を意味するのかを説明します。",
            "{topic}について語るとき、{a}という言葉は欠かせません。",
            "{topic}の話は、{a}と{b}から始まります。",
        ),
        (
            "多くの人は{a}や{b}を通して初めて{topic}に出会います。",
            "大切なのは{a}そのものではなく、{b}の背後にあるものです。",
            "昔は誰も{a}の話をしませんでしたが、今では当たり前になりました。",
            "{a}と{b}を早めに準備すれば、{c}はずっと楽になります。",
            "簡単な例を考えましょう。{a}があり、{b}があり、{c}はありません。",
            "{a}を考えに入れると、数字はまったく違って見えます。",
            "{a}と{b}の間には、経験だけが教えてくれるものがあります。",
            "だからこそ{topic}の本は、いつも{a}の問題に戻ってくるのです。",
            "{a}がなければ、{b}という言葉は数日で意味を失うでしょう。",
            "{topic}に携わった人なら、{a}がすぐに{b}に変わることを知っています。",
        ),
        joiner="",
    ),
    "zh": Language(
        "zh_CN",
        ("Chinese", "Mandarin", "中文", "汉语", "漢語", "普通话"),
        (
            "本文说明{topic}在实践中意味着什么。",
            "谈到{topic}，很少有人不提到{a}。",
            "{topic}的故事从{a}和{b}开始。",
        ),
        (
            "大多数人是通过{a}和{b}第一次接触{topic}的。",
            "重要的不是{a}本身，而是{b}背后的东西。",
            "过去没有人谈论{a}，如今它已经无处不在。",
            "提前准备{a}和{b}的团队，会觉得{c}容易得多。",
            "来看一个简单的例子：有{a}，有{b}，却没有{c}。",
            "一旦把{a}考虑进去，数字就完全不同了。",
            "在{a}与{b}之间，有一些只有经验才能教会的东西。",
            "因此每一部关于{topic}的作品都会回到{a}的问题上。",
            "没有{a}，{b}这个词几天之内就会失去意义。",
            "做过{topic}的人都知道，{a}多么快就会变成{b}。",
        ),
        joiner="",
    ),
}

# What a prompt counts a text's length in, and what makes the number a bound: before it, after it.
LENGTH_UNITS = "words?|mots?|Wörtern?|Worte|palabras?|parole|palavras?|woorden|単語|文字|语|词|字"
_NOT = r"(?:no|not|never|\w+n't) (?:\w+ ){0,2}"
LEAST_BEFORE = (
    rf"at least|{_NOT}(?:fewer|less) than|(?:a )?minimum(?: of)?"
    "|au moins|mindestens|al menos|almeno|pelo menos|minstens"
)
LEAST_AFTER = "or more|(?:at )?minimum|at least|ou plus|oder mehr|o más|o più|ou mais|of meer|以上"
MOST_BEFORE = (
    rf"at most|{_NOT}(?:more than|longer than|over|exceed(?:ing)?)|(?:a )?max(?:imum)?(?: of)?|up to|within|under"
    "|au plus|höchstens|maximal|como máximo|al massimo|no máximo|hoogstens|不超过"
)
MOST_AFTER = (
    "or (?:fewer|less|under)|(?:at )?max(?:imum)?|at most|ou moins|oder weniger|o menos|o meno|ou menos|of minder"
    "|以内|以下"
)
ABOVE_BEFORE, BELOW_BEFORE = "more than|over|plus de|mehr als", "(?:fewer|less) than|below|moins de|weniger als"

_NAMES = [name for language in LANGUAGES.values() for name in language.names]
_BY_NAME = LANGUAGES | {name.lower(): language for language in LANGUAGES.values() for name in language.names}
# Names in Latin script end at a word boundary; Japanese and Chinese have none.
_LATIN = "|".join(name for name in _NAMES if name[0].isascii())
_OTHER = "|".join(name for name in _NAMES if not name[0].isascii())
_CODE = "|".join(LANGUAGES)
_CUE = r"language|lang|locale|langue|sprache|idioma|lingua|língua|taal|言語|语言"
_PATTERNS = (
    # "language: fr", "lang=pt-BR", "in 'de'": a bare code is too often a word, as in "in it".
    re.compile(
        rf"(?:{_CUE})(?: code| is)?\W{{1,4}}({_CODE})(?![^\W_])|\b(?:in|into)\s+[\"'`(]({_CODE})\b", re.IGNORECASE
    ),
    # "in French", "in simple French", but not "in a French café".
    re.compile(
        rf"(?:\b(?:in|into|en|em|auf|op|het)|{_CUE})\W+(?:(?!an?\b|the\b|une?\b)\w+\s+)?({_LATIN})(?!\w)|({_OTHER})",
        re.IGNORECASE,
    ),
    re.compile(rf"\b({_CODE})[-_][A-Z]{{2}}\b"),
    re.compile(rf"(?<!\w)({_LATIN})(?!\w)"),
)


def asked_language(*texts: str) -> Language:
    """
    The language the first text that names one asks for ("in French" before "a French cook"), by its name or its
    ISO code; else the one the first text is written in.
    """
    for pattern in _PATTERNS:
        for text in texts:
            found = pattern.search(text)
            if found:
                return _BY_NAME[found[found.lastindex or 0].lower()]
    return _written_language(texts[0])


def _written_language(text: str) -> Language:
    if re.search(r"[\u3040-\u30ff]", text):
        return LANGUAGES["ja"]
    if re.search(r"[\u4e00-\u9fff]", text):
        return LANGUAGES["zh"]
    words = set(re.findall(r"\w+", text.lower()))
    # English comes first, and so wins where nothing speaks for another.
    return max(LANGUAGES.values(), key=lambda language: len(words.intersection(language.common.split())))


@cache
def word_pool(language: Language) -> tuple[str, ...]:
    """Words of a language, always the same ones."""
    if language.words:
        return tuple(language.words.split())
    faker = Faker(language.locale)
    faker.seed_instance(0)
    # Faker draws from a list of its own; asking for many and dropping doubles gives nearly all of it, in a
    # fixed order.
    least = 4 if language.joiner else 2
    return tuple(word for word in dict.fromkeys(faker.words(4000)) if len(word) >= least)
