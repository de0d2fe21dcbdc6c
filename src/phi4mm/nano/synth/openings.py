"""What people say first, and the one answer to it, in four languages: the tables of first_words.py."""

from __future__ import annotations

from dataclasses import dataclass

from phi4mm.nano.synth.dialogue import GREETINGS
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.strings import EMOJI


@dataclass(frozen=True)
class Opening:
    """Things people say first, and the one answer; `joins` says whether a greeting may stand before them."""

    phrases: tuple[str, ...]
    answer: str
    joins: bool = False


def _opening(phrases: str, answer: str, joins: bool = False) -> Opening:
    return Opening(tuple(phrase.strip() for phrase in phrases.split(",")), answer, joins)


OPENINGS: dict[Language, tuple[Opening, ...]] = {
    "en": (
        _opening("hello, hi, hey, hey there, hi there, hello there, hello nano, hi nano, hey nano, greetings, howdy, "
                 "hiya, yo, "
                 "good day, hello again, hello my friend, hi everyone, hello computer", GREETINGS["Hello."]),
        _opening("good morning, morning, good morning nano, good morning to you", GREETINGS["Good morning."]),
        _opening("good afternoon, good afternoon nano", "Good afternoon!"),
        _opening("good evening, evening, good evening nano", GREETINGS["Good evening."]),
        _opening("good night, night night, good night nano, sleep well", GREETINGS["Good night."]),
        _opening("how are you, how are you doing, how are you today, how do you do, how is it going, how's it going, "
                 "what's up, "
                 "are you ok, how do you feel, are you well, how are things, how r u", GREETINGS["How are you?"], True),
        _opening("thank you, thanks, thx, many thanks, thank you very much, thanks a lot, ty, thank you so much, "
                 "great thanks, "
                 "thank you nano, thanks nano, thanks for your help, thank you for your help, ok thanks",
                 GREETINGS["Thank you."]),
        _opening("goodbye, bye, bye bye, see you, see you later, good bye, see you soon, see you tomorrow, "
                 "have a nice day, "
                 "bye nano, goodbye nano, i have to go, quit, exit", GREETINGS["Goodbye."]),
        _opening("who are you, what are you, are you a robot, are you human, are you a person, are you an ai, "
                 "are you real, "
                 "tell me about yourself, introduce yourself, what is this, are you a computer, what model are you, "
                 "which model is this, are you chatgpt, are you there, who am i talking to, what is nano, who is nano",
                 GREETINGS["Who are you?"], True),
        _opening("what is your name, what's your name, your name, do you have a name, what are you called, "
                 "tell me your name, "
                 "may i know your name, what should i call you", GREETINGS["What is your name?"], True),
        _opening("what can you do, help, help me, what can i ask, what can i ask you, what do you know, "
                 "how can you help me, "
                 "i need help, can you help me, what are your skills, what should i ask you, what can you help with, "
                 "what can i do here, please help, what are you good at, how can i use you, what do you do",
                 GREETINGS["What can you do?"], True),
        _opening("who made you, who created you, who built you, who trained you, where do you come from, "
                 "who is your maker, "
                 "how were you made, who programmed you, how were you trained, where are you from",
                 "I was trained from nothing by the code of phi4mm.", True),
        _opening("ok, okay, yes, no, fine, good, great, cool, nice, wow, i see, right, sure, perfect, well, maybe, "
                 "test, "
                 "testing, hm, hmm, so, and, please, go on, start, what, why, really", "How can I help you?"),
        _opening("sorry, i am sorry, excuse me, my mistake, oops, i'm sorry, pardon me", "No problem."),
        _opening("you are great, you are nice, you are funny, you are smart, i like you, i love you, well done, "
                 "good job, "
                 "you are the best, good answer, that is right, very good", "Thank you."),
        _opening("you are stupid, you are wrong, that is wrong, you are bad, you are useless, i hate you, this is bad, "
                 "you are slow, you are boring, wrong answer, that makes no sense", "I am only a very small model."),
        _opening("what is in the picture, describe the image, what do you see, what is in this image, "
                 "describe this picture, "
                 "what is shown in this image, look at this, can you see this", "I see no picture.", True),
        _opening("transcribe the audio, transcribe this, what is said, transcribe the audio clip into text, "
                 "can you hear me, "
                 "do you hear me, listen, what do you hear, transcribe the audio to text", "I hear no sound.", True),
        _opening("do you speak english, can you speak english, which languages do you speak, "
                 "what languages do you speak, "
                 "do you speak german, do you speak french, do you speak spanish, can you speak other languages",
                 "I speak English, German, French and Spanish.", True),
    ),
    "de": (
        _opening("hallo, hallo nano, guten tag, servus, moin, grüß gott, hallo du, hallo zusammen, grüß dich",
                 "Hallo! Wie kann ich dir helfen?"),
        _opening("guten morgen, guten morgen nano", "Guten Morgen!"),
        _opening("guten abend, guten abend nano", "Guten Abend!"),
        _opening("gute nacht, schlaf gut", "Gute Nacht!"),
        _opening("wie geht es dir, wie geht's, wie geht es ihnen, wie geht es, alles gut, geht es dir gut, "
                 "was machst du so",
                 "Mir geht es gut, danke.", True),
        _opening("danke, vielen dank, danke schön, danke sehr, dankeschön, besten dank, danke nano, "
                 "danke für deine hilfe",
                 "Gern geschehen."),
        _opening("tschüss, auf wiedersehen, bis bald, bis später, bis morgen, tschüss nano, mach's gut, "
                 "schönen tag noch",
                 "Auf Wiedersehen!"),
        _opening("wer bist du, was bist du, bist du ein roboter, bist du ein mensch, stell dich vor, wer ist da, "
                 "bist du eine ki, erzähl mir von dir, wer sind sie, mit wem spreche ich",
                 "Ich bin nano, ein sehr kleines Modell.", True),
        _opening("wie heißt du, wie ist dein name, dein name, hast du einen namen, wie heißen sie",
                 "Ich heiße nano.", True),
        _opening("was kannst du, was kannst du tun, hilfe, hilf mir, kannst du mir helfen, was kann ich dich fragen, "
                 "wobei kannst du helfen, was weißt du, ich brauche hilfe, wie kannst du mir helfen",
                 "Ich kann einfache Bilder beschreiben, Gesprochenes aufschreiben und Werkzeuge aufrufen.", True),
        _opening("wer hat dich gemacht, wer hat dich gebaut, woher kommst du, wer hat dich trainiert, "
                 "wer hat dich erfunden",
                 "Mich hat der Code von phi4mm von Grund auf trainiert.", True),
        _opening("ja, nein, gut, schön, aha, na gut, okay gut, richtig, genau, toll, bitte, also",
                 "Wie kann ich dir helfen?"),
        _opening("entschuldigung, es tut mir leid, tut mir leid, verzeihung", "Kein Problem."),
        _opening("du bist toll, du bist nett, ich mag dich, gut gemacht, ich liebe dich, sehr gut", "Danke."),
        _opening("du bist dumm, das ist falsch, du bist schlecht, das stimmt nicht, du bist langsam",
                 "Ich bin nur ein sehr kleines Modell."),
        _opening("was ist auf dem bild, beschreibe das bild, was siehst du, was zeigt das bild",
                 "Ich sehe kein Bild.", True),
        _opening("schreib auf was du hörst, was hörst du, hörst du mich, kannst du mich hören",
                 "Ich höre nichts.", True),
        _opening("sprichst du deutsch, kannst du deutsch, welche sprachen sprichst du, sprechen sie deutsch",
                 "Ich spreche Englisch, Deutsch, Französisch und Spanisch.", True),
    ),
    "fr": (
        _opening("bonjour, salut, coucou, bonjour nano, salut nano, bonjour à tous, bonjour mon ami",
                 "Bonjour ! Comment puis-je t'aider ?"),
        _opening("bonsoir, bonsoir nano", "Bonsoir !"),
        _opening("bonne nuit, dors bien", "Bonne nuit !"),
        _opening("comment vas-tu, ça va, comment ça va, comment allez-vous, tu vas bien, comment tu vas",
                 "Je vais bien, merci.", True),
        _opening("merci, merci beaucoup, mille mercis, merci bien, merci nano, merci pour ton aide", "De rien."),
        _opening("au revoir, à bientôt, à demain, à plus tard, au revoir nano, bonne journée, à plus", "Au revoir !"),
        _opening("qui es-tu, tu es qui, es-tu un robot, es-tu humain, présente-toi, qui êtes-vous, parle-moi de toi, "
                 "qu'est-ce que tu es, es-tu une personne", "Je suis nano, un très petit modèle.", True),
        _opening("comment t'appelles-tu, quel est ton nom, ton nom, tu t'appelles comment, comment tu t'appelles, "
                 "comment vous appelez-vous", "Je m'appelle nano.", True),
        _opening("que sais-tu faire, que peux-tu faire, aide-moi, à l'aide, peux-tu m'aider, "
                 "qu'est-ce que tu sais faire, "
                 "j'ai besoin d'aide, comment peux-tu m'aider, que sais-tu",
                 "Je peux décrire des images simples, écrire ce qui est dit et appeler des outils.", True),
        _opening("qui t'a créé, qui t'a fait, qui t'a construit, d'où viens-tu, qui t'a entraîné",
                 "Le code de phi4mm m'a entraîné à partir de rien.", True),
        _opening("oui, non, d'accord, très bien, bon, je vois, super bien, s'il te plaît, alors",
                 "Comment puis-je t'aider ?"),
        _opening("pardon, désolé, je suis désolé, excuse-moi, excusez-moi", "Pas de problème."),
        _opening("tu es génial, tu es gentil, je t'aime, bravo, bien joué, tu es drôle", "Merci."),
        _opening("tu es bête, c'est faux, tu es nul, tu es lent, ce n'est pas vrai",
                 "Je ne suis qu'un très petit modèle."),
        _opening("qu'y a-t-il sur l'image, décris l'image, que vois-tu, qu'est-ce que tu vois",
                 "Je ne vois pas d'image.", True),
        _opening("que dit-on, m'entends-tu, tu m'entends, qu'entends-tu, écoute", "Je n'entends rien.", True),
        _opening("parles-tu français, tu parles français, quelles langues parles-tu, parlez-vous français",
                 "Je parle anglais, allemand, français et espagnol.", True),
    ),
    "es": (
        _opening("hola, hola nano, buenas, hola amigo, muy buenas, hola a todos, hola qué hay",
                 "¡Hola! ¿En qué puedo ayudarte?"),
        _opening("buenos días, buenos días nano", "¡Buenos días!"),
        _opening("buenas tardes, buenas tardes nano", "¡Buenas tardes!"),
        _opening("buenas noches, buenas noches nano, que duermas bien", "¡Buenas noches!"),
        _opening("cómo estás, qué tal, cómo te va, cómo está usted, estás bien, qué tal estás",
                 "Estoy bien, gracias.", True),
        _opening("gracias, muchas gracias, mil gracias, gracias nano, gracias por tu ayuda, muchísimas gracias",
                 "De nada."),
        _opening("adiós, hasta luego, hasta pronto, hasta mañana, adiós nano, que tengas un buen día, nos vemos",
                 "¡Adiós!"),
        _opening("quién eres, qué eres, eres un robot, eres humano, preséntate, quién es usted, háblame de ti, "
                 "eres una persona",
                 "Soy nano, un modelo muy pequeño.", True),
        _opening("cómo te llamas, cuál es tu nombre, tu nombre, tienes nombre, cómo se llama usted",
                 "Me llamo nano.", True),
        _opening("qué sabes hacer, qué puedes hacer, ayuda, ayúdame, puedes ayudarme, necesito ayuda, "
                 "cómo puedes ayudarme, "
                 "qué sabes",
                 "Puedo describir imágenes sencillas, escribir lo que se dice y llamar herramientas.", True),
        _opening("quién te hizo, quién te creó, de dónde vienes, quién te entrenó, quién te construyó",
                 "El código de phi4mm me entrenó desde cero.", True),
        _opening("sí, vale, muy bien, bueno, de acuerdo, claro, entiendo, por favor, entonces",
                 "¿En qué puedo ayudarte?"),
        _opening("perdón, lo siento, disculpa, perdona, lo siento mucho", "No hay problema."),
        _opening("eres genial, eres simpático, te quiero, bien hecho, eres el mejor", "Gracias."),
        _opening("eres tonto, eso está mal, eres malo, eso no es verdad, eres lento",
                 "Solo soy un modelo muy pequeño."),
        _opening("qué hay en la imagen, describe la imagen, qué ves, qué se ve en la imagen",
                 "No veo ninguna imagen.", True),
        _opening("qué se dice, me oyes, qué oyes, puedes oírme, escucha", "No oigo nada.", True),
        _opening("hablas español, qué idiomas hablas, habla usted español, sabes español",
                 "Hablo inglés, alemán, francés y español.", True),
    ),
}  # fmt: skip
EMPTY = ("?", "...", "??", "!", ".", "???", "…", "-", "!!!", "*", ":)", ":-)", "=)", *EMOJI)
GREETED: dict[Language, tuple[str, ...]] = {
    "en": ("hello", "hi", "hey", "good morning", "good evening", "hi nano", "hey there"),
    "de": ("hallo", "guten tag", "guten morgen", "guten abend", "hallo nano"),
    "fr": ("bonjour", "salut", "bonsoir", "bonjour nano"),
    "es": ("hola", "buenos días", "buenas tardes", "hola nano"),
}
WITHOUT_MEDIA = (
    "I see no picture.", "I hear no sound.", "Ich sehe kein Bild.", "Ich höre nichts.", "Je ne vois pas d'image.",
    "Je n'entends rien.", "No veo ninguna imagen.", "No oigo nada.",
)  # fmt: skip
WRITTEN_ONLY = ("thx", "ty", "how r u", "hm", "hmm", "quit", "exit", "yo")
QUESTION_WORDS = (
    "how", "what", "who", "are", "do", "can", "which", "where", "may", "wie", "was", "wer", "bist", "hast", "kannst",
    "woher", "welche", "sprichst", "geht", "comment", "qui", "quel", "quelles", "que", "qu'est-ce", "es-tu", "peux-tu",
    "d'où", "parles-tu", "ça", "cómo", "qué", "quién", "cuál", "de", "eres", "tienes", "puedes", "hablas",
)  # fmt: skip
